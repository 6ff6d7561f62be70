// The npm package's side of `make interop`: reads calls as JSON lines, makes them with the package, writes answers.
// scripts/interop.py copies it beside the fetched package, starts it and says what to call.

import { createInterface } from 'node:readline';

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

let KlingAPI;
try {
  ({ KlingAPI } = await import('kling-api'));
} catch (error) {
  say({ unloadable: String(error) });
  process.exit();
}
say({ loaded: `Node ${process.versions.node}` });

let api;

async function answer({ method, args, named }) {
  if (method === 'login') {
    api = new KlingAPI({ accessKey: named.access_key, secretKey: named.secret_key, baseUrl: named.base });
    return null;
  }
  // {"method": "name"} stands for one of the package's own functions.
  const given = args.map((one) => (one?.method ? api[one.method].bind(api) : one));
  if (Object.keys(named).length) given.push(named);
  return api[method](...given);
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    say({ answer: (await answer(JSON.parse(line))) ?? null });
  } catch (error) {
    const { name, message, httpStatus, code } = error;
    say({ error: { name, message, status: httpStatus ?? null, code: code ?? null } });
  }
}

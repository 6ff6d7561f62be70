// What Airflow tells of a task instance, read as what Kling was asked and what it made.

import { getFailure, getTaskInstance, getTaskInstances, getTasks, getXCom, getXComKeys, readJson, storedAddress } from "./airflow.js";
import { mediaAddress, seconds } from "./dom.js";

export const FINISHED = ["success", "failed", "skipped", "upstream_failed", "removed"];
const FAILED = ["failed", "upstream_failed"];
const MOST_RELATED = 24;
const AT_ONCE = 4;

const LABELS = {
  "image2video": "Image to video",
  "text2video": "Text to video",
  "multi-image2video": "Images to video",
  "omni-video": "Omni video",
  "images/generations": "Image",
  "images/omni-image": "Omni image",
  "images/multi-image2image": "Images to image",
  "images/editing/expand": "Expand image",
  "tts": "Speech",
  "text-to-audio": "Text to audio",
  "video-to-audio": "Video to audio",
};
// Rendered fields that are not part of what Kling is asked.
const OURS = ["endpoint", "kling_conn_id", "storage_conn_id", "external_task_id", "idempotency_key", "max_units", "kling_task_id"];
const MORE_OURS = ["input_seconds", "task", "destination", "filename", "op_args", "op_kwargs", "templates_dict"];

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const text = (value) => (typeof value === "string" || typeof value === "number" ? String(value) : undefined);
// Not the sentence that Airflow keeps in place of what is too long, nor what a template made of nothing.
const idIn = (value) => (/^(?!None$)\S+$/.test(text(value) ?? "") ? text(value) : undefined);

let tasks;

// The DAG's tasks, by id: what an operator is whose class does not say so, and what comes before and after it.
export async function readDag() {
  tasks ??= new Map((await getTasks()).map((task) => [task.task_id, task]));
}

export const isKling = (ti) =>
  /kling/i.test(ti.operator_name ?? ti.operator ?? "") || Boolean(tasks?.get(ti.task_id)?.template_fields?.includes("kling_conn_id"));
export const isFailed = (ti) => FAILED.includes(ti.state);
export const isOver = (ti) => FINISHED.includes(ti.state);

// What Kling answers at once has no task_id, and is told from others by Kling's request_id.
const isResult = (value) => isObject(value) && typeof value.task_id === "string" && text(value.status) && Array.isArray(value.videos);
const nameOf = (value) => (isObject(value) ? text(value.task_id) || text(value.request_id) : undefined) || undefined;
const isManifest = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((entry) => isObject(entry) && text(entry.uri) && "sha256" in entry);

export function label(endpoint) {
  if (!endpoint) return "Kling";
  const words = LABELS[endpoint] ?? endpoint.replace(/^\/+/, "").replace(/\/kling-.*/, "").replaceAll(/[-/]/g, " ");
  return words[0].toUpperCase() + words.slice(1);
}

export function fieldsOf(ti) {
  return Object.fromEntries(Object.entries(ti.rendered_fields ?? {}).map(([name, value]) => [name, readJson(value)]));
}

// What Kling was asked, in its own field names, without what was left out.
export function requestOf(ti) {
  const fields = fieldsOf(ti);
  const prefix = isObject(fields.request) ? "request." : "";
  const given = prefix ? fields.request : fields;
  return Object.entries(given)
    .filter(([name, value]) => prefix || ![...OURS, ...MORE_OURS].includes(name))
    .filter(([, value]) => value !== null && value !== "" && value !== "None" && value !== undefined)
    .map(([name, value]) => ({ name, field: prefix + name, value }));
}

// Every file of a result, with the media_id that its stored copy has: as KlingTask.files tells them.
function filesOf(result) {
  const found = [];
  for (const [name, items] of [["video", result.videos], ["image", result.images], ["audio", result.audios], ["voice", result.voices]]) {
    for (const [number, item] of (Array.isArray(items) ? items.filter(isObject) : []).entries()) {
      const id = text(item.id) || `${name}-${item.index ?? number}`;
      for (const [key, url] of Object.entries(item)) {
        if (!/^url(_|$)/.test(key) || typeof url !== "string" || !url) continue;
        const form = key.slice("url_".length);
        const lasts = Number(item[form ? `duration_${form}` : "duration"]) || undefined;
        found.push({ kind: name === "voice" ? "audio" : name, id: form ? `${id}-${form}` : id, duration: lasts, url });
      }
    }
  }
  return found;
}

const kindOf = (mime) => (["video", "image", "audio"].includes(String(mime).split("/")[0]) ? String(mime).split("/")[0] : "video");

function storedOf(ti, manifest, handed) {
  return manifest.map((entry, number) => ({
    address: storedAddress(ti, number),
    uri: entry.uri,
    bytes: Number(entry.bytes),
    kind: kindOf(entry.media_type),
    id: text(entry.media_id),
    taskId: text(entry.task_id) || nameOf(handed),
    storedBy: ti.task_id,
    duration: Number(entry.duration) || undefined,
  }));
}

const isCopyOf = (copy, work) =>
  copy.taskId ? copy.taskId === work.id : work.tis.some((ti) => ti.task_id === copy.storedBy);

// When Kling's address ends, in epoch seconds: what its signature says, else how long results are kept.
export function expiryOf(url, endedAt, facts) {
  let query;
  try {
    query = new URL(url).searchParams;
  } catch {
    return undefined;
  }
  const signed = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(query.get("X-Amz-Date") ?? "");
  if (signed && query.get("X-Amz-Expires")) {
    const [year, month, ...rest] = signed.slice(1).map(Number);
    return Date.UTC(year, month - 1, ...rest) / 1000 + Number(query.get("X-Amz-Expires"));
  }
  const told = Number(query.get("Expires") ?? query.get("q-sign-time")?.split(";")[1]);
  if (told > 1e9 && told < 1e11) return told;
  return endedAt === undefined ? undefined : endedAt + facts.result_ttl_days * 86400;
}

// Everything about the work of these task instances, which belong together; a piece of work per task at Kling.
export async function readWorks(tis, facts) {
  const works = [];
  const stored = [];
  const stores = new Map();
  const read = [];
  while (read.length < tis.length) {
    read.push(...(await Promise.all(tis.slice(read.length, read.length + AT_ONCE).map(readOnce))));
  }
  for (const { ti, values } of read) {
    const fields = fieldsOf(ti);
    const handed = isObject(fields.kling_task_id) ? fields.kling_task_id : isObject(fields.task) ? fields.task : undefined;
    if (values.manifest) {
      stored.push(...storedOf(ti, values.manifest, handed));
      stores.set(ti.task_id, { ti, handed });
      continue;
    }
    const handedId = idIn(fields.kling_task_id) ?? idIn(fields.task);
    const submitted = isObject(values.job) ? values.job : (handed ?? (handedId ? { task_id: handedId } : {}));
    const result = values.result ?? (isResult(handed) ? handed : undefined);
    const id = nameOf(result) ?? nameOf(submitted);
    const known = id && works.find((work) => work.id === id);
    if (known) {
      known.tis.push(ti);
      known.result ??= result;
      known.job = { ...submitted, ...known.job };
    } else {
      works.push({ id, tis: [ti], job: submitted, result });
    }
  }
  // Of what another run submitted only the store is here.
  for (const copy of stored) {
    if (works.some((work) => isCopyOf(copy, work))) continue;
    const { ti, handed } = stores.get(copy.storedBy);
    const job = handed && nameOf(handed) === copy.taskId ? handed : {};
    works.push({ id: copy.taskId, tis: [ti], job, result: isResult(job) ? job : undefined });
  }
  for (const work of works) finish(work, stored, facts);
  return works;
}

// Those with a place in the gallery: not what only waits for its turn, was left out, or makes nothing (a balance, a list).
export function madeOf(works) {
  const made = works.filter((work) => work.id || work.media.length || hasBegun(work));
  return made.length ? made : works.filter((work) => !work.over).slice(0, 1);
}

const MADE_NOTHING = ["success", "skipped", "upstream_failed"];
const hasBegun = (work) =>
  work.tis.some((ti) => ti.state === "failed" || (work.request.length > 0 && !MADE_NOTHING.includes(ti.state)));

const usdOf = (units, rate) => (units === undefined || rate === null ? undefined : units * rate);

function finish(work, stored, facts) {
  const asking = work.tis.find((ti) => requestOf(ti).length > 0) ?? work.tis[0];
  const { result = {}, job } = work;
  const [endpoint, model, mode, length] = String(job.profile ?? "").split(" ");
  work.asking = asking;
  work.isAnswer = result.task_id === ""; // given at once: there is no task at Kling
  work.request = requestOf(asking);
  const value = (name) => text(work.request.find((row) => row.name === name)?.value);
  work.endpoint = text(result.endpoint) ?? text(job.endpoint) ?? text(fieldsOf(asking).endpoint) ?? endpoint;
  const known = (word) => (word && word !== "-" ? word : undefined);
  work.model = text(job.model_name) ?? known(model) ?? value("model_name");
  work.mode = known(mode) ?? value("mode");
  work.length = known(length) ?? value("duration");
  work.submittedAt = seconds(job.submitted_at) ?? seconds(result.created_at);
  work.createdAt = seconds(result.created_at);
  work.endedAt = result.status ? seconds(result.updated_at) : undefined;
  work.status = text(result.status);
  work.statusMessage = text(result.status_message);
  work.externalId = text(result.external_task_id) ?? text(job.external_task_id);
  work.rate = work.endpoint in facts.usd_per_unit ? facts.usd_per_unit[work.endpoint] : facts.usd_per_video_unit;
  work.units = result.units === null || result.units === undefined ? undefined : Number(result.units);
  work.estimate = Number(text(job.estimated_units)) || undefined; // a run of before, or a task taken over, has none
  work.usd = usdOf(work.units, work.rate);
  work.estimateUsd = usdOf(work.estimate, work.rate);
  work.usualSeconds = facts.usual_seconds[work.endpoint];
  work.failed = work.tis.some(isFailed) || work.status === "failed";
  work.over = work.tis.every(isOver);
  const files = filesOf(result);
  const copies = stored.filter((copy) => isCopyOf(copy, work));
  work.media = files.map((file, number) => ({
    ...file,
    stored: copies.find((copy) => copy.id === file.id) ?? (copies.length === files.length ? copies[number] : undefined),
    remote: mediaAddress(file.url),
    expires: expiryOf(file.url, work.endedAt, facts),
  }));
  if (!files.length) work.media = copies.map((copy) => ({ ...copy, stored: copy }));
}

// Some Airflow lists task instances without what their templates became.
const withFields = (ti) =>
  ti.start_date && !Object.keys(ti.rendered_fields ?? {}).length ? getTaskInstance(ti.task_id, ti.map_index) : ti;

const seen = new Map();

// A task instance and what it has pushed; read again only once it has moved on, or may have submitted by now.
async function readOnce(listed) {
  if (!listed.start_date) return { ti: listed, values: {} };
  const name = JSON.stringify([listed.task_id, listed.map_index]);
  const stamp = JSON.stringify([listed.state, listed.try_number]);
  const known = seen.get(name);
  if (known?.stamp === stamp && (isOver(listed) || known.values.job)) return known;
  const [ti, values] = await Promise.all([withFields(listed), readTask(listed)]);
  seen.set(name, { stamp, ti, values });
  return { ti, values };
}

async function readTask(ti) {
  const keys = await getXComKeys(ti);
  const read = (key) => (keys.includes(key) ? getXCom(ti, key) : undefined);
  const [returned, job] = await Promise.all([read("return_value"), read("kling_task")]);
  return {
    job,
    result: isResult(returned) ? returned : undefined,
    manifest: isManifest(returned) ? returned : undefined,
  };
}

// Whether this task has to do with Kling at all: by its operator, or by what it returned.
export async function concernsKling(ti) {
  if (isKling(ti)) return true;
  const { result, manifest, job } = await readTask(ti);
  return Boolean(result || manifest || job);
}

// How many steps away in the DAG each task is that comes before or after this one.
function stepsFrom(taskId) {
  const before = new Map();
  const after = new Map([...tasks].map(([id, task]) => [id, task.downstream_task_ids ?? []]));
  for (const [id, following] of after) for (const next of following) before.set(next, [...(before.get(next) ?? []), id]);
  const steps = new Map();
  for (const way of [before, after]) {
    let ring = [taskId];
    for (let step = 1; ring.length; step++) {
      ring = [...new Set(ring.flatMap((id) => way.get(id) ?? []))].filter((id) => !steps.has(id));
      for (const id of ring) steps.set(id, step);
    }
  }
  return steps;
}

// The work of one task instance, with what other tasks of the run know of it: the sensor, the stored copy.
export async function readWork(ti, facts) {
  const [own] = await readWorks([ti], facts);
  if (!own?.id || !isKling(ti)) return own;
  const steps = stepsFrom(ti.task_id);
  const isAboutIt = (other) => JSON.stringify(other.rendered_fields ?? {}).includes(own.id); // some Airflow lists them
  const distance = (other) => (isAboutIt(other) ? 0 : (steps.get(other.task_id) ?? Number.MAX_SAFE_INTEGER));
  const others = (await getTaskInstances(ti.map_index)).filter((other) => isKling(other) && other.task_id !== ti.task_id);
  const near = others.sort((one, other) => distance(one) - distance(other)).slice(0, MOST_RELATED);
  const works = await readWorks([ti, ...near], facts);
  return works.find((work) => work.id === own.id) ?? own;
}

export const isInTrouble = (ti) => ["failed", "up_for_retry"].includes(ti.state);

// Why this task instance failed, else why another one of its work did.
export const failureOf = (ti, work) => {
  const failed = [ti, ...work.tis].find((each) => isInTrouble(each) && isKling(each));
  return failed ? getFailure(failed) : undefined;
};

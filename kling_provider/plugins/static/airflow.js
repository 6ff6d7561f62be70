// Airflow's API, asked with the viewer's own session. Nothing here reads or keeps the session itself.

// The page lies at <base>/kling/…, wherever Airflow lies.
const base = new URL("..", location.href).pathname;

export class Refused extends Error {
  constructor(status) {
    super(`Airflow answered ${status}`);
    this.status = status;
  }
}

// Read by hand: some Airflow leaves the "+" of a run id bare, which URLSearchParams takes for a space.
function readAddress() {
  const found = {};
  for (const pair of location.search.slice(1).split("&")) {
    const [name, value = ""] = pair.split("=", 2);
    const text = decodeURIComponent(value);
    if (text && !/^\{[A-Z_]+\}$/.test(text)) found[name] = text; // what Airflow does not know stays {MAP_INDEX}
  }
  return found;
}

export const asked = readAddress();

const path = (...parts) => parts.map(encodeURIComponent).join("/");

async function get(address) {
  const answer = await fetch(base + address, { credentials: "same-origin", headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Refused(answer.status);
  return answer.json();
}

const runPath = () => `api/v2/dags/${path(asked.dag)}/dagRuns/${path(asked.run)}`;
const taskPath = (task) => `${runPath()}/taskInstances/${path(task)}`;

export const getFacts = () => get("kling/facts.json");

export function getTaskInstance(task, index) {
  return get(taskPath(task) + (index >= 0 ? `/${index}` : ""));
}

// All of the run, mapped ones one by one; or those of one map index.
export async function getTaskInstances(index) {
  const found = [];
  const only = index === undefined ? "" : `&map_index=${index}`; // some Airflow takes no notice of it
  for (;;) {
    const page = await get(`${runPath()}/taskInstances?limit=100&offset=${found.length}${only}`);
    found.push(...page.task_instances);
    if (!page.task_instances.length || found.length >= page.total_entries) {
      return index === undefined ? found : found.filter((ti) => ti.map_index === index);
    }
  }
}

// The DAG's tasks as they are now; none if Airflow does not tell them, as where the DAG is gone.
export async function getTasks() {
  try {
    return (await get(`api/v2/dags/${path(asked.dag)}/tasks`)).tasks;
  } catch (error) {
    if (error instanceof Refused) return [];
    throw error;
  }
}

// Which XComs a task instance has pushed.
export async function getXComKeys(ti) {
  const page = await get(`${taskPath(ti.task_id)}/xcomEntries?map_index=${ti.map_index}&limit=100`);
  return page.xcom_entries.filter((entry) => entry.map_index === ti.map_index).map((entry) => entry.key);
}

// The value of an XCom; undefined if there is none any more.
export async function getXCom(ti, key) {
  try {
    const entry = await get(`${taskPath(ti.task_id)}/xcomEntries/${path(key)}?map_index=${ti.map_index}`);
    return readJson(entry.value);
  } catch (error) {
    if (error.status === 404) return undefined;
    throw error;
  }
}

// The exception a task ended with, as {kind, message}; undefined if its log has none, or may not be read.
export async function getFailure(ti) {
  try {
    const address = `${taskPath(ti.task_id)}/logs/${ti.try_number}?full_content=true&map_index=${ti.map_index}`;
    const lines = (await get(address)).content;
    const last = (Array.isArray(lines) ? lines : []).filter((line) => line.error_detail?.length).pop();
    const error = last?.error_detail.at(-1);
    return error && { kind: String(error.exc_type), message: String(error.exc_value) };
  } catch {
    return undefined;
  }
}

export const storedAddress = (ti, number) =>
  `${base}kling/stored/${path(asked.dag, asked.run, ti.task_id, ti.map_index, number)}`;

export const askedAddress = (ti, field) =>
  `${base}kling/asked/${path(asked.dag, asked.run, ti.task_id, ti.map_index, field)}`;

export function pageAddress(page, ti) {
  const query = { dag: asked.dag, run: asked.run, ...(ti && { task: ti.task_id, map: ti.map_index, from: "run" }) };
  return `${page}?${Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
}

// Some Airflow hands objects on as their text.
export function readJson(value) {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

// Dark or light as Airflow is, also when it is switched.
export function followTheme() {
  const own = document.documentElement;
  let theirs;
  try {
    theirs = parent === window ? undefined : parent.document.documentElement;
  } catch {
    theirs = undefined;
  }
  const set = () => {
    const dark = theirs
      ? theirs.classList.contains("dark") || theirs.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    own.classList.toggle("dark", dark);
  };
  set();
  if (theirs) new MutationObserver(set).observe(theirs, { attributes: true });
}

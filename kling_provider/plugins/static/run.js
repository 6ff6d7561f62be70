// The tab of a DAG run: all it made.

import { followTheme, getFacts, getFailure, getTaskInstances, pageAddress } from "./airflow.js";
import { duration, el, later } from "./dom.js";
import { nothing, player } from "./media.js";
import { mayPass, money, refusal, stateChip, units } from "./parts.js";
import { FINISHED, isFailed, isKling, isOver, label, madeOf, readDag, readWorks } from "./reading.js";

const CARDS = 24;
const AT_ONCE = 4;
const LOOK_AGAIN_MS = 6000;
const LISTED_AT_ONCE = 400; // of a run with more task instances the list is read less often
const FILTERS = { all: "All", done: "Done", failed: "Failed", busy: "Running" };

const page = document.getElementById("page");
const grid = el("div", { class: "grid" });
const more = el("button", { type: "button", class: "more", onclick: () => { limit += CARDS; redraw(); } }, "Show more");
const buttons = Object.entries(FILTERS).map(([name, words]) =>
  el("button", { type: "button", "data-filter": name, onclick: () => { filter = name; limit = CARDS; redraw(); } }, `${words} `, el("span", { class: "tally" })));
const filters = el("div", { class: "filters", role: "group", "aria-label": "Show" }, buttons);
const summary = el("p", { class: "summary" });
const cards = new Map(); // map index -> what its task instances were when they were read, and the cards of their work
let groups = [];
let limit = CARDS;
let filter = "all";
let facts;

followTheme();
look();

async function look() {
  let again = true;
  let wait = LOOK_AGAIN_MS;
  try {
    facts ??= await getFacts();
    const tis = await getTaskInstances();
    await readDag();
    groups = groupsOf(tis.filter(isKling));
    if (!groups.length) page.replaceChildren(el("p", { class: "neutral" }, "This run made nothing with Kling."));
    else {
      if (!grid.isConnected) page.replaceChildren(el("header", {}, el("h1", {}, "Made in this run"), summary, filters), grid, more);
      await draw();
    }
    again = tis.some((ti) => !isOver(ti));
    wait *= Math.max(1, tis.length / LISTED_AT_ONCE);
  } catch (error) {
    page.replaceChildren(refusal(error));
    again = mayPass(error);
  }
  if (again) later(look, wait);
}

// What belongs together has one map index: submit, wait and store of one picture. Those without are one by one.
function groupsOf(tis) {
  const byIndex = new Map();
  for (const ti of tis) byIndex.set(ti.map_index, [...(byIndex.get(ti.map_index) ?? []), ti]);
  return [...byIndex].sort(([a], [b]) => a - b).map(([index, members]) => ({
    index,
    tis: members,
    failed: members.some(isFailed),
    busy: members.some((ti) => !isOver(ti)),
    state: JSON.stringify(members.map((ti) => [ti.task_id, ti.state, ti.try_number])),
  }));
}

const matches = (group) => ({ all: true, failed: group.failed, busy: group.busy, done: group.tis.some((ti) => ti.state === "success") })[filter];
const fits = (work, name = filter) => ({ all: true, failed: work.failed, busy: !work.over, done: work.over && !work.failed })[name];

const redraw = () => draw().catch((error) => page.replaceChildren(refusal(error)));

// Groups are read until there are as many cards as are to be shown.
async function draw() {
  const wanted = groups.filter(matches);
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.filter === filter));
  let count = 0;
  for (let read = 0; read < wanted.length && count < limit; ) {
    await Promise.all(wanted.slice(read, read + AT_ONCE).map(load));
    read = Math.min(read + AT_ONCE, wanted.length);
    count = await place(wanted.slice(0, read), wanted.length - read);
  }
  if (!wanted.length) await place([], 0);
}

// A group is read once, and again only when its task instances have moved, or one that runs may have submitted by now.
async function load(group) {
  const known = cards.get(group.index);
  if (known?.state === group.state && !(group.busy && known.drawn.some(({ work }) => !work.id))) return;
  const works = madeOf(await readWorks(group.tis, facts));
  const drawn = works.map((work) => {
    const news = JSON.stringify(work);
    return known?.drawn.find((each) => each.news === news) ?? { work, news }; // what a card has loaded stays loaded
  });
  cards.set(group.index, { state: group.state, drawn });
}

// Show the cards of these groups; tells how many there are to show. So many groups have not been read yet.
async function place(visible, unread) {
  const fitting = visible.flatMap((group) => cards.get(group.index).drawn).filter(({ work }) => fits(work));
  const elements = await Promise.all(fitting.slice(0, limit).map(async (each) => (each.element ??= await card(each.work))));
  const left = fitting.length - elements.length + unread;
  more.hidden = !left || elements.length < limit;
  more.textContent = `Show more (${left} left)`;
  if (elements.length !== grid.children.length || elements.some((element, number) => grid.children[number] !== element)) grid.replaceChildren(...elements);
  if (!elements.length) grid.replaceChildren(el("p", { class: "quiet" }, filter === "all" ? "Nothing made with Kling so far." : "Nothing of this kind."));
  const all = groups.flatMap((group) => cards.get(group.index)?.drawn ?? []).map(({ work }) => work);
  const isAll = groups.every((group) => cards.has(group.index));
  for (const button of buttons) button.lastChild.textContent = isAll ? all.filter((work) => fits(work, button.dataset.filter)).length : "";
  const awaited = all.filter((work) => work.units === undefined && !work.over && !work.failed && work.estimate !== undefined);
  const parts = [
    `${all.length} ${all.length === 1 ? "task" : "tasks"} at Kling`,
    all.some((work) => work.failed) && `${all.filter((work) => work.failed).length} failed`,
    all.some((work) => !work.over) && `${all.filter((work) => !work.over).length} running`,
    amount("deducted:", all.filter((work) => work.units !== undefined), "units", "usd"),
    amount("estimate of what is running:", awaited, "estimate", "estimateUsd"),
    !isAll && "of those shown so far",
  ];
  summary.textContent = parts.filter(Boolean).join(" · ");
  return fitting.length;
}

function amount(words, works, count, price) {
  const sum = (name) => works.reduce((total, work) => total + (work[name] ?? 0), 0);
  const isOnePack = new Set(works.map((work) => work.rate)).size === 1; // units of video packs and of image packs are no sum
  const told = [isOnePack && units(sum(count)), sum(price) > 0 && `≈ ${money(sum(price))} at list price`].filter(Boolean);
  return told.length > 0 && `${words} ${told.join(" ")}`;
}

async function card(work) {
  const ti = work.tis.find(isFailed) ?? work.tis.find((each) => !FINISHED.includes(each.state)) ?? work.tis[0];
  const name = work.asking.map_index >= 0 ? `${work.asking.task_id} [${work.asking.rendered_map_index ?? work.asking.map_index}]` : work.asking.task_id;
  const prompt = work.request.find((row) => row.name === "prompt" || row.name === "text")?.value;
  const failed = work.failed && work.tis.find((each) => each.state === "failed");
  const failure = failed && (await getFailure(failed));
  const about = [label(work.endpoint), work.media[0]?.duration && duration(work.media[0].duration), work.units !== undefined ? units(work.units) : !work.over && work.estimate && `about ${units(work.estimate)}`];
  const first = work.media[0];
  const picture = first
    ? (player(first, facts, { small: true, label: name }) ?? nothing(first))
    : el("div", { class: "media empty" }, el("p", {}, failure ? failure.kind.split(".").at(-1) : work.failed ? "Failed" : work.over ? "No file" : "Kling is at work"));
  return el("a", { class: `tile${work.failed ? " failed" : ""}`, href: pageAddress("task.html", work.asking) },
    el("div", { class: "picture" }, picture, work.media.length > 1 && el("span", { class: "count" }, `${work.media.length} files`)),
    el("div", { class: "text" },
      el("div", { class: "head" }, el("strong", {}, name), stateChip(ti.state)),
      (failure?.message ?? prompt) && el("p", { class: failure ? "message" : "words" }, String(failure?.message ?? prompt)),
      el("p", { class: "note" }, about.filter(Boolean).join(" · "))));
}

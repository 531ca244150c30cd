/* The live page: follows the stream of the sandbox, and keeps the list in step with it. */

import { body, line, refusedBody, refusedLine } from "./records.js";

const MOST = 300; // lines; older ones leave the page, not the sandbox
const byId = (id) => document.getElementById(id);
const list = byId("list");
const items = new Map(); // key -> {element, data, rejected}

// The list

function keyOf(data, rejected) {
  return rejected ? `r${data.sequence}` : `e${data.id}`;
}

function newItem(rejected) {
  const element = document.createElement("li");
  const details = document.createElement("details");
  const content = document.createElement("div");
  content.className = "content";
  details.append(document.createElement("summary"), content);
  element.append(details);
  const item = { element, details, content, rejected, data: null };
  details.addEventListener("toggle", () => drawBody(item));
  return item;
}

function drawBody(item) {
  const draw = item.rejected ? refusedBody : body;
  item.content.replaceChildren(...(item.details.open ? draw(item.data).filter(Boolean) : []));
}

function put(data, rejected, animate) {
  const key = keyOf(data, rejected);
  const known = items.get(key);
  const item = known || newItem(rejected);
  item.data = data;
  item.details.firstElementChild.replaceChildren(...(rejected ? refusedLine : line)(data));
  drawBody(item);
  if (!known) {
    items.set(key, item);
    place(item);
  }
  if (animate) flash(item.element);
  filterOne(item);
}

function place(item) {
  let next = list.firstElementChild;
  while (next && received(next) > item.data.received) next = next.nextElementSibling;
  item.element.dataset.received = item.data.received;
  list.insertBefore(item.element, next);
}

function received(element) {
  return Number(element.dataset.received);
}

function flash(element) {
  element.classList.remove("new");
  void element.offsetWidth; // lets the animation begin again
  element.classList.add("new");
}

function dropOldest() {
  while (list.childElementCount > MOST) {
    const last = list.lastElementChild;
    for (const [key, item] of items) if (item.element === last) items.delete(key);
    last.remove();
  }
}

// The filter

function fits(item) {
  const status = byId("status").value;
  const pixel = byId("pixel").value;
  const words = byId("filter").value.trim().toLowerCase();
  const { data, rejected } = item;
  if (pixel && data.pixel !== pixel) return false;
  if (status === "rejected" && !rejected) return false;
  if (status === "warning" && !(!rejected && data.diagnostics.some((found) => found.level === "warning"))) return false;
  if (status && !["rejected", "warning"].includes(status) && data.status !== status) return false;
  const names = rejected ? data.event_names.join(" ") : `${data.event_name} ${data.event_id}`;
  return `${names} ${data.pixel}`.toLowerCase().includes(words);
}

function filterOne(item) {
  item.element.hidden = !fits(item);
}

function filterAll() {
  for (const item of items.values()) filterOne(item);
  showState();
}

function showState() {
  const any = items.size > 0;
  const visible = [...items.values()].some((item) => !item.element.hidden);
  byId("empty").hidden = any;
  byId("nothing").hidden = !any || visible;
  byId("heads").hidden = list.hidden = !visible;
}

function resetFilter() {
  byId("filter").value = byId("status").value = byId("pixel").value = "";
  filterAll();
  byId("filter").focus();
}

function offerPixels() {
  const select = byId("pixel");
  const known = new Set([...select.options].map((option) => option.value));
  for (const { data } of items.values()) {
    if (!data.pixel || known.has(data.pixel)) continue;
    known.add(data.pixel);
    select.append(new Option(data.pixel, data.pixel));
  }
  byId("pixel-choice").hidden = known.size < 3;
}

// The stream

function receive(changes, snapshot) {
  const open = [];
  if (snapshot) {
    for (const [key, item] of items) if (item.details.open) open.push(key);
    items.clear();
    list.replaceChildren();
  }
  const news = changes.events.filter((event) => !items.has(keyOf(event, false))).length;
  for (const event of changes.events) put(event, false, !snapshot);
  for (const rejection of changes.rejections) put(rejection, true, !snapshot);
  for (const key of open) if (items.has(key)) items.get(key).details.open = true;
  dropOldest();
  offerPixels();
  showTotals(changes.totals);
  showFault(changes.misbehaviour);
  byId("strict").hidden = !changes.strict;
  showState();
  if (!snapshot) tell(news, changes.rejections.length);
}

function showTotals(totals) {
  for (const [name, count] of Object.entries(totals)) {
    byId(`total-${name}`).textContent = count.toLocaleString();
  }
  document.querySelector("[data-kind=rejected]").classList.toggle("some", totals.rejected > 0);
}

let untold = [0, 0];
let teller = 0;

/** Tells a screen reader what came, but not more often than it can be said. */
function tell(events, refusals) {
  untold = [untold[0] + events, untold[1] + refusals];
  teller ||= setTimeout(() => {
    const [came, refused] = untold;
    const parts = [];
    if (came) parts.push(came === 1 ? "1 new event" : `${came} new events`);
    if (refused) parts.push(refused === 1 ? "1 refused request" : `${refused} refused requests`);
    if (parts.length) byId("news").textContent = parts.join(", ");
    untold = [0, 0];
    teller = 0;
  }, 1500);
}

function showConnection(state, text) {
  byId("connection").dataset.state = state;
  byId("connection-text").textContent = text;
}

function connect() {
  const stream = new EventSource("/api/stream");
  stream.addEventListener("open", () => showConnection("live", "Live"));
  stream.addEventListener("error", () => {
    showConnection("lost", "Reconnecting");
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  });
  stream.addEventListener("snapshot", (message) => receive(JSON.parse(message.data), true));
  stream.addEventListener("changes", (message) => receive(JSON.parse(message.data), false));
}

// Faults

function showFault(fault) {
  byId("fault").hidden = !fault;
  if (!fault) return;
  const left = fault.times === null ? "until switched off" : fault.times === 1 ? "once more" : `${fault.times} more times`;
  byId("fault-text").textContent = `Meta ${fault.description}, ${left}.`;
}

function showFaultFields() {
  const mode = byId("fault-mode").value;
  for (const field of document.querySelectorAll("[data-for]")) {
    field.hidden = !field.dataset.for.split(" ").includes(mode);
    field.querySelector("input").disabled = field.hidden;
  }
}

async function send(path, value) {
  return fetch(path, { method: "POST", body: JSON.stringify(value) });
}

async function switchOn(event) {
  event.preventDefault();
  const fault = Object.fromEntries(new FormData(byId("fault-form")));
  for (const name of ["times", "seconds", "retry_after"]) {
    if (fault[name]) fault[name] = Number(fault[name]);
    else delete fault[name];
  }
  const answer = await send("/api/misbehave", fault);
  if (answer.ok) byId("fault-dialog").close();
  else byId("fault-error").textContent = (await answer.json()).error;
}

// Controls

byId("filter").addEventListener("input", filterAll);
byId("status").addEventListener("change", filterAll);
byId("pixel").addEventListener("change", filterAll);
byId("reset").addEventListener("click", resetFilter);
byId("clear").addEventListener("click", () => send("/api/clear", null));
byId("fault-stop").addEventListener("click", () => send("/api/misbehave", { mode: null }));
byId("fault-mode").addEventListener("change", showFaultFields);
byId("fault-form").addEventListener("submit", switchOn);
byId("fault-cancel").addEventListener("click", () => byId("fault-dialog").close());
byId("fault-open").addEventListener("click", () => {
  byId("fault-error").textContent = "";
  byId("fault-dialog").showModal();
});

byId("setting").textContent = `WAGTAIL_METAPIXEL = {"SANDBOX": "${location.origin}"}`;
showFaultFields();
connect();

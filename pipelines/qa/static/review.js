// The desk: what a key does, what is on the screen, and what is fetched ahead of the reviewer.

import { ask, leaveBehind, newKey } from "./api.js";
import { Editor } from "./editor.js";
import { listen } from "./keys.js";
import { Mask } from "./mask.js";
import { Outbox } from "./outbox.js";
import { prepare } from "./prefetch.js";
import { Camera, Viewer, navigate } from "./viewer.js";

const boot = JSON.parse(document.getElementById("boot").textContent);
const find = (id) => document.getElementById(id);
const HOLD_MS = 30_000;
// Locks of a page that nobody touched for so long are let go.
const IDLE_MS = 10 * 60_000;

const camera = new Camera();
const left = new Viewer(find("left"), camera);
const right = find("right") ? new Viewer(find("right"), camera) : null;
const editor = new Editor(left, { prompt, say });
navigate(left, editor);
if (right) navigate(right, { takes: () => false, hover() {}, double: () => false });

let current = null;
let queue = [];
let shownAt = 0;
let touched = Date.now();
let pressed = 0;
let exhausted = false;
let passed = 0;
let side = false;

const outbox = new Outbox(`${boot.round} ${boot.reviewer}`, (one) => send("decide", one), {
  answered: refill,
  state(problem, waiting) {
    if (problem) say(waiting ? `${problem}; not sent yet and not lost: ${waiting}` : problem, true);
    else if (find("message").classList.contains("bad")) say("");
  },
});

// What this page is, and for whom it speaks: a name that is changed in another tab is not its own.
const mine = { page: boot.page, reviewer: boot.reviewer };

async function send(path, body = {}) {
  return (await ask(path, { ...mine, ...body })).json();
}

// --- one image after the other ---

function refill(answer) {
  if (answer.progress) tell(answer.progress);
  if (!answer.items) return;
  const known = new Set(queue.map((item) => item.id));
  for (const item of answer.items) {
    if (item.id === current?.id || known.has(item.id) || outbox.has(item.id)) continue;
    queue.push(item);
  }
  exhausted = answer.items.length === 0;
  passed = answer.passed;
  for (const item of queue) prepare(item);
  if (!current && queue.length) next();
  else if (!current) empty();
}

async function show(item) {
  current = item;
  find("blank").hidden = true;
  if (!item.ready) await prepare(item);
  if (current !== item) return;
  const { picture, mask, other } = item.ready ?? {};
  left.show(picture ?? null, mask ?? null);
  right?.show(picture ?? null, other ?? null);
  left.fit();
  left.request(painted);
  if (item.problem) blank(`${item.id}: ${item.problem}`);
  describe(item);
  shownAt = performance.now();
}

// Where the time goes is measured in the browser itself: benchmarks/qa_speed.py reads it.
function painted() {
  const start = pressed;
  pressed = 0;
  const channel = new MessageChannel();
  // A message that is posted in a frame arrives after the frame is on its way to the screen.
  channel.port1.onmessage = () => {
    if (start) performance.measure("qa-step", { start, end: performance.now() });
    const id = current?.id ?? "";
    document.documentElement.dataset.shown = id;
    // A reload comes back to this image. Slow in browsers, so nobody waits for it.
    if (id) history.replaceState(null, "", `/review?image=${encodeURIComponent(id)}`);
  };
  channel.port2.postMessage(0);
}

function next() {
  const item = queue.shift();
  if (item) return show(item);
  current = null;
  left.show(null, null);
  right?.show(null, null);
  describe({ id: "", why: "", facts: [] });
  if (exhausted && !outbox.waiting.length) empty();
  else blank("Fetching…");
}

function empty() {
  document.documentElement.dataset.shown = "";
  const box = blank(passed ? `Nothing is left for you but the ${passed} that you passed over.` : "Nothing is left for you in the queue.");
  if (!passed) return;
  const button = box.appendChild(document.createElement("button"));
  button.textContent = "Bring them back";
  button.className = "primary";
  button.onclick = async () => refill(await send("again"));
}

function blank(text) {
  const box = find("blank");
  box.textContent = "";
  box.append(text);
  box.hidden = false;
  return box;
}

function describe(item) {
  find("image-id").textContent = item.id;
  find("why").textContent = item.why;
  find("why").hidden = !item.why;
  const words = { accept: "accepted", reject: "rejected", edit: "edited", flag: "flagged" };
  const state = find("state");
  state.hidden = !item.action;
  state.textContent = item.action ? `${words[item.action]}${item.by && item.by !== boot.reviewer ? ` by ${item.by}` : ""}` : "";
  find("note").value = item.note || "";
  find("facts").replaceChildren(...item.facts.flatMap(([name, value]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

function tell(progress) {
  const part = progress.total ? progress.done / progress.total : 0;
  find("meter").querySelector("rect").setAttribute("width", 100 * part);
  find("done").textContent = `${progress.done.toLocaleString("en")} of ${progress.total.toLocaleString("en")}`;
  const hours = progress.hours_left;
  const more = hours === null ? "" : hours < 1 ? `, ${Math.ceil(60 * hours)} min left` : `, ${hours.toFixed(1)} h left`;
  find("pace").textContent = progress.an_hour ? `${Math.round(progress.an_hour).toLocaleString("en")} an hour${more}` : "";
}

function decide(action, extra = {}) {
  if (!current) return;
  const item = current;
  const note = find("note").value.trim();
  const seconds = (performance.now() - shownAt) / 1000;
  outbox.add({ key: newKey(), image: item.id, action, note, seconds, ...extra });
  next();
}

async function undo() {
  say("");
  await outbox.flush();
  try {
    const { item, progress } = await send("undo");
    tell(progress);
    if (!item) return say("Nothing to undo");
    queue = queue.filter((one) => one.id !== item.id);
    if (current && current.id !== item.id) queue.unshift(current);
    await show(item);
    say(`Taken back: ${item.id}`);
  } catch (error) {
    say(error.message, true);
  }
}

// --- drawing ---

async function edit() {
  if (!current?.ready?.mask) return;
  editor.begin(current.ready.mask);
  mode(true);
  choose("brush");
  if (!boot.assistant) ask("look", { image: current.id }).catch(() => {});
}

function choose(tool) {
  if (boot.assistant && (tool === "click" || tool === "box")) return say(boot.assistant, true);
  editor.choose(tool);
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.classList.toggle("on", button.dataset.tool === tool);
  }
  find("draw").dataset.tool = tool;
  say({
    polygon: "Click the corners; Enter closes",
    click: "Click on the lesion; with Shift or the right button beside it",
    box: "Draw a box around the lesion",
  }[tool] ?? "");
}

async function prompt(asked) {
  const answer = await ask("prompt", { image: current.id, ...asked });
  return Mask.fromBlob(await answer.blob());
}

async function save() {
  if (editor.corners.length && editor.close(false)) return;
  const { mask } = editor;
  if (!editor.changed) return leave();
  const item = current;
  const drawn = await mask.png();
  if (current !== item || !editor.active) return;
  leave();
  decide("edit", { mask: drawn });
}

function leave() {
  editor.end();
  left.show(current?.ready?.picture ?? null, current?.ready?.mask ?? null);
  mode(false);
  say("");
}

function mode(drawing) {
  find("draw").hidden = !drawing;
  find("judge").hidden = drawing;
  find("left").classList.toggle("drawing", drawing);
  if (drawing && side) toggleSide();
}

// --- looking ---

function toggleSide() {
  if (!right || editor.active) return;
  side = !side;
  find("other").hidden = !side;
  find("stage").classList.toggle("side", side);
  press("side", side);
  requestAnimationFrame(() => left.fit());
}

function hide() {
  left.hidden = !left.hidden;
  if (right) right.hidden = left.hidden;
  press("hide", left.hidden);
  camera.changed();
}

function press(name, on) {
  document.querySelector(`[data-do="${name}"]`)?.setAttribute("aria-pressed", String(on));
}

function zoom(factor) {
  const box = left.box;
  camera.zoom(factor, box.width / 2, box.height / 2);
}

function size(factor) {
  const range = find("size");
  range.value = Math.round(Number(range.value) * factor);
  editor.size = Number(range.value);
  left.request();
}

function say(text, bad = false) {
  const line = find("message");
  line.textContent = text;
  line.classList.toggle("bad", bad);
}

const actions = {
  accept: () => decide("accept"),
  reject: () => decide("reject"),
  flag: () => decide("flag"),
  next: () => decide("next"),
  take: () => (current?.ready?.other ? decide("edit") : say("The other cache has no mask of this image", true)),
  undo, edit, save, leave, hide,
  side: toggleSide,
  back: () => editor.undo(),
  beside() {
    editor.beside = !editor.beside;
    press("beside", editor.beside);
  },
  fit: () => left.fit(),
  in: () => zoom(1.4),
  out: () => zoom(1 / 1.4),
  keys: () => find("help").showModal(),
  note: () => find("note").focus(),
  smaller: () => size(0.8),
  larger: () => size(1.25),
};

listen(editor, { run, choose });
for (const name of ["keydown", "pointerdown"]) {
  document.addEventListener(name, () => (touched = Date.now()));
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-do], button[data-tool]");
  if (!button) return;
  if (button.dataset.tool) choose(button.dataset.tool);
  else run(button.dataset.do, event.timeStamp);
  // The next key is for the desk, not for this button; who uses Tab keeps the focus.
  if (event.detail) button.blur();
});

function run(name, when) {
  // When the key went down, for the measurement of a step.
  if (["accept", "reject", "flag", "next"].includes(name)) pressed = when;
  actions[name]();
}

find("opacity").addEventListener("input", (event) => {
  left.opacity = event.target.value / 100;
  if (right) right.opacity = left.opacity;
  camera.changed();
});
find("size").addEventListener("input", (event) => {
  editor.size = Number(event.target.value);
});

// --- locks ---

setInterval(async () => {
  if (Date.now() - touched > IDLE_MS) return;
  const images = [...(current ? [current.id] : []), ...queue.map((item) => item.id)];
  try {
    const { lost } = await send("hold", { images });
    queue = queue.filter((item) => !lost.includes(item.id));
    if (current && lost.includes(current.id)) say("Somebody else has got this image meanwhile", true);
  } catch {
    // The outbox tells when the server is away.
  }
}, HOLD_MS);
addEventListener("pagehide", () => {
  // What waits is sent once more: its key makes the server keep it once.
  for (const one of outbox.waiting) leaveBehind("decide", { ...mine, ...one });
  leaveBehind("release", mine);
});
addEventListener("beforeunload", (event) => {
  if (editor.active && editor.changed) event.preventDefault();
});

// --- begin ---

tell(boot.progress);
queue = boot.items.filter((item) => !outbox.has(item.id));
for (const item of queue) prepare(item);
if (queue.length) next();
else if (outbox.waiting.length) blank("Fetching…");
else send("claim").then(refill, (error) => blank(error.message));
if (boot.holder) say(`${boot.holder} looks at this image now`, true);
outbox.flush();

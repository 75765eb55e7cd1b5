// The page of `lesion serve`: sends one photograph, shows what is answered. Nothing is stored.
"use strict";

const at = (id) => document.getElementById(id);
const percent = (value) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)}%`;
const show = (id, yes) => { at(id).hidden = !yes; };
let chosen = null;
let turn = 0;

function choose(file) {
  if (!file) return;
  chosen = file;
  document.querySelector(".drop-title").textContent = "Photograph";
  document.querySelector(".drop-or").textContent = file.name;
  const preview = at("preview");
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(file);
  preview.hidden = false;
  // A TIFF, which browsers do not show, is sent all the same.
  preview.onerror = () => { preview.hidden = true; };
}

function form() {
  const body = new FormData();
  // The name of the file stays here: it may be a person's.
  body.append("image", chosen, "photograph");
  for (const name of ["age", "sex", "site"]) {
    const value = at(name).value.trim();
    if (value) body.append(name, value);
  }
  return body;
}

async function ask(path) {
  const key = at("key");
  const headers = key && key.value ? { Authorization: `Bearer ${key.value}` } : {};
  const answer = await fetch(path, { method: "POST", body: form(), headers });
  let said;
  try {
    said = await answer.json();
  } catch {
    said = { error: { found: `The server answered ${answer.status}.` } };
  }
  return { ok: answer.ok, said };
}

function trouble(error) {
  const words = { found: error.found, wanted: error.wanted && `Wanted: ${error.wanted}.`, mend: error.mend };
  for (const part of ["found", "wanted", "mend"]) {
    const text = words[part] || "";
    at(`trouble-${part}`).textContent = text.charAt(0).toUpperCase() + text.slice(1);
  }
  show("trouble", true);
}

function place(id, value) {
  show(id, value !== null);
  if (value !== null) at(id).style.left = `${100 * value}%`;
}

function line(text, warn) {
  const item = document.createElement("li");
  item.textContent = text;
  if (warn) item.className = "warn";
  at("said").append(item);
}

const SETS = {
  benign: "Prediction set: benign alone.",
  malignant: "Prediction set: malignant alone.",
  both: "Prediction set: undecided, neither can be ruled out.",
  none: "Prediction set: empty, it is like neither class of the calibration.",
};

function lacking(missing) {
  const asked = missing.filter((name) => at(name));
  const others = missing.length - asked.length;
  if (asked.length) line(`Missing, though the model can use it: ${asked.join(", ")}.`, true);
  if (others) line(`Without ${others} measurement${others > 1 ? "s" : ""} that the model can use and this page does not ask for.`);
}

function facts(said) {
  at("said").replaceChildren();
  if (said.score === null) line("Not calibrated: a score that ranks lesions, no frequency.", true);
  if (said.flagged !== null) {
    const side = said.flagged ? "At or above" : "Below";
    line(`${side} the threshold of this model, ${percent(said.threshold)}.`, said.flagged);
  }
  if (said.prediction_set) line(SETS[said.prediction_set]);
  lacking(said.missing);
  if (said.mask_status !== "ok") {
    line(`Mask ${said.mask_status}${said.reason ? ` (${said.reason})` : ""}: the whole photograph was seen.`, true);
  }
  const classes = Object.entries(said.diagnoses).sort((a, b) => b[1] - a[1]).slice(0, 3);
  if (classes.length) line(`Likeliest classes: ${classes.map(([n, p]) => `${n} ${percent(p)}`).join(", ")}.`);
}

function shown(said) {
  at("malignant").textContent = percent(said.malignant);
  const ends = said.low !== null && said.high !== null;
  at("interval").textContent = ends ? `95% interval of the calibration ${percent(said.low)} to ${percent(said.high)}` : "";
  show("range", ends);
  if (ends) {
    at("range").style.left = `${100 * said.low}%`;
    at("range").style.width = `${100 * (said.high - said.low)}%`;
  }
  place("point", said.malignant);
  place("threshold", said.threshold);
  facts(said);
  at("outline").src = `data:image/jpeg;base64,${said.outline_jpeg}`;
  at("crop").src = `data:image/jpeg;base64,${said.crop_jpeg}`;
  const mask = said.mask;
  const sure = mask.quality === null ? "" : `, expected Dice ${mask.quality.toFixed(2)}`;
  at("outline-text").textContent = mask.area
    ? `Mask: ${percent(mask.area)} of the photograph, confidence ${mask.score.toFixed(2)}${sure}`
    : "No lesion was found";
  at("crop-text").textContent = `What the classifier saw (${said.focus.replaceAll("_", " ").replaceAll("+", ", ")})`;
  show("answer", true);
}

function explained(said) {
  at("evidence").src = `data:image/png;base64,${said.evidence_png}`;
  const inside = said.evidence_inside === null
    ? "No evidence for malignancy in the picture."
    : `${percent(said.evidence_inside)} of the evidence for malignancy lies in the mask, which fills ${percent(said.area_inside)}.`;
  const believed = said.deletion_gain > 0
    ? ""
    : " Taking the evidence away does not lower the number: this map shows nothing.";
  at("evidence-text").textContent = inside + believed;
  show("evidence-figure", true);
  const rows = Object.entries(said.effects).map(([name, value]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const cell = document.createElement("td");
    cell.textContent = `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
    row.append(head, cell);
    return row;
  });
  at("effects").tBodies[0].replaceChildren(...rows);
  show("effects-part", rows.length > 0);
}

async function look(event) {
  event.preventDefault();
  const mine = ++turn;
  for (const id of ["idle", "trouble", "answer", "evidence-figure", "effects-part"]) show(id, false);
  if (!chosen) {
    trouble({ found: "No photograph yet", mend: "Drop one, or choose a file." });
    return;
  }
  if (chosen.size > 1e6 * Number(document.body.dataset.maxMegabytes)) {
    trouble({ found: "The file is too large", mend: `At most ${document.body.dataset.maxMegabytes} MB.` });
    return;
  }
  at("send").disabled = true;
  show("busy", true);
  try {
    const { ok, said } = await ask("predict?pictures=true");
    if (mine !== turn) return;
    show("busy", false);
    if (!ok) {
      trouble(said.error);
      return;
    }
    shown(said);
    at("result").focus();
    at("send").disabled = false;
    if (document.body.dataset.explains === "yes") {
      const more = await ask("explain");
      if (mine === turn && more.ok) explained(more.said);
    }
  } catch {
    if (mine === turn) trouble({ found: "The server does not answer", mend: "Is it still running?" });
  } finally {
    if (mine === turn) {
      show("busy", false);
      at("send").disabled = false;
    }
  }
}

const drop = at("drop");
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); choose(event.dataTransfer.files[0]); });
at("image").addEventListener("change", (event) => choose(event.target.files[0]));
at("form").addEventListener("submit", look);

// What each key does.

const LOOKING = {
  m: "hide", 0: "fit", "+": "in", "=": "in", "-": "out", "?": "keys", i: "note",
};
const JUDGING = {
  a: "accept", r: "reject", f: "flag", n: "next", arrowright: "next", u: "undo", arrowleft: "undo",
  e: "edit", t: "take", s: "side",
};
const DRAWING = { z: "back", "[": "smaller", "]": "larger", enter: "save", escape: "leave" };
const TOOLS = { b: "brush", x: "eraser", p: "polygon", c: "click", o: "box" };

// Call `run` with the action and the time of each key that means one, `choose` with each tool.
export function listen(editor, { run, choose }) {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.altKey) return;
    if (event.target.matches("input:not([type=range])")) {
      if (event.key === "Enter" || event.key === "Escape") event.target.blur();
      return;
    }
    const key = event.key.toLowerCase();
    if (key === " " && editor.active) editor.panning = true;
    const name = meaning(event, key, editor.active);
    if (name === undefined) return;
    if (editor.active && name === TOOLS[key]) choose(name);
    else run(name, event.timeStamp);
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") editor.panning = false;
  });
}

function meaning(event, key, drawing) {
  if (event.ctrlKey || event.metaKey) return key === "z" ? (drawing ? "back" : "undo") : undefined;
  if (drawing) return TOOLS[key] ?? DRAWING[key] ?? LOOKING[key];
  // A key that is held down decides once.
  return (event.repeat ? undefined : JUDGING[key]) ?? LOOKING[key];
}

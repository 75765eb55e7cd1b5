// Changing a mask by hand: brush, eraser, polygon, and clicks or a box that the server answers.

const STEPS = 30;
// Larger masks get their outline anew when a stroke ends, not while it is drawn.
const LIVE_PIXELS = 800_000;
const INK = "rgb(255 214 10)";

export class Editor {
  // `prompt` asks the server for the mask of clicks or a box; `say` tells the person something.
  constructor(viewer, { prompt, say }) {
    this.viewer = viewer;
    this.prompt = prompt;
    this.say = say;
    this.size = 28;
    this.tool = "brush";
    // Touch screens have neither Shift nor a right button: clicks are then beside the lesion.
    this.beside = false;
    this.panning = false;
    this.mask = null;
    viewer.over = (pen, camera) => this.over(pen, camera);
  }

  get active() {
    return this.mask !== null;
  }

  begin(mask) {
    this.mask = mask.copy();
    this.first = mask.bits;
    this.history = [];
    this.asked = 0;
    this.forget();
    this.viewer.show(this.viewer.picture, this.mask);
    return this.mask;
  }

  end() {
    this.mask = null;
    this.asked = 0;
    this.forget();
    this.viewer.request();
  }

  get changed() {
    return this.mask.bits.some((bit, at) => bit !== this.first[at]);
  }

  choose(tool) {
    this.tool = tool;
    this.forget();
    this.viewer.request();
  }

  // What was begun and is no part of the mask yet.
  forget() {
    this.clicks = [];
    this.corners = [];
    this.from = null;
    this.to = null;
    this.at = null;
  }

  remember() {
    this.history.push({ bits: this.mask.bits.slice(), clicks: [...this.clicks] });
    if (this.history.length > STEPS) this.history.shift();
  }

  undo() {
    if (this.corners.length) {
      this.corners.pop();
    } else {
      const before = this.history.pop();
      if (before === undefined) return;
      this.asked++;
      this.mask.set(before.bits);
      this.clicks = before.clicks;
    }
    this.viewer.request();
  }

  // --- pointers, called by `navigate` ---

  takes(event) {
    if (!this.active || this.panning) return false;
    return event.button === 0 || (event.button === 2 && this.tool === "click");
  }

  hover(event) {
    if (!this.active) return;
    this.at = event === null || event.pointerType === "touch" ? null : this.viewer.place(event);
    this.viewer.request();
  }

  down(event) {
    const place = this.viewer.place(event);
    if (this.tool === "brush" || this.tool === "eraser") {
      this.remember();
      this.from = place;
      this.stroke(place, place);
    } else if (this.tool === "box") {
      this.from = this.to = place;
    }
    this.viewer.request();
  }

  move(event) {
    const place = this.viewer.place(event);
    if (this.tool === "brush" || this.tool === "eraser") {
      for (const one of event.getCoalescedEvents?.() ?? []) this.strokeTo(this.viewer.place(one));
      this.strokeTo(place);
    } else if (this.tool === "box") {
      this.to = place;
    }
    this.viewer.request();
  }

  up(event) {
    const place = this.viewer.place(event);
    if (this.tool === "brush" || this.tool === "eraser") {
      this.mask.read();
      this.mask.tint();
      this.from = null;
    } else if (this.tool === "polygon") {
      const near = this.corners.length > 2 && this.distance(place, this.corners[0]) < 10;
      if (near) this.close(event.shiftKey);
      else this.corners.push(place);
    } else if (this.tool === "click") {
      const beside = this.beside || event.shiftKey || event.altKey || event.button === 2;
      this.remember();
      this.clicks.push({ place, beside });
      this.ask();
    } else if (this.tool === "box") {
      this.to = place;
      if (this.distance(this.from, this.to) > 6) {
        this.remember();
        this.ask();
      }
    }
    this.viewer.request();
  }

  cancel() {
    if (this.from && (this.tool === "brush" || this.tool === "eraser")) this.undo();
    this.from = this.to = null;
    this.viewer.request();
  }

  // Whether a double click meant something to the tool.
  double(event) {
    if (!this.active) return false;
    if (this.tool === "polygon" && this.corners.length > 2) this.close(event.shiftKey);
    return true;
  }

  // --- tools ---

  strokeTo(place) {
    if (!this.from) return;
    this.stroke(this.from, place);
    this.from = place;
  }

  stroke(from, to) {
    const { pen } = this.mask;
    pen.globalCompositeOperation = this.tool === "eraser" ? "destination-out" : "source-over";
    pen.strokeStyle = INK;
    pen.lineWidth = this.size / this.viewer.camera.scale;
    pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(...from);
    // A line of no length would draw nothing.
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
    pen.globalCompositeOperation = "source-over";
    if (this.mask.bits.length <= LIVE_PIXELS) this.mask.read();
  }

  // Close the polygon; returns whether there was one.
  close(away) {
    if (this.corners.length < 3) return false;
    this.remember();
    const { pen } = this.mask;
    pen.globalCompositeOperation = away ? "destination-out" : "source-over";
    pen.fillStyle = INK;
    pen.beginPath();
    for (const corner of this.corners) pen.lineTo(...corner);
    pen.closePath();
    pen.fill();
    pen.globalCompositeOperation = "source-over";
    this.mask.read();
    this.mask.tint();
    this.corners = [];
    this.viewer.request();
    return true;
  }

  async ask() {
    const { width, height } = this.mask;
    const part = ([x, y]) => [within(y / height), within(x / width)];
    const asked = { inside: [], outside: [] };
    if (this.tool === "box") {
      const [a, b] = [part(this.from), part(this.to)];
      asked.box = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
    } else {
      for (const { place, beside } of this.clicks) asked[beside ? "outside" : "inside"].push(part(place));
      if (!asked.inside.length) return this.say("Click on the lesion first");
    }
    const mine = ++this.asked;
    this.say("Looking…");
    try {
      const found = await this.prompt(asked);
      if (!this.active || mine !== this.asked) return;
      this.mask.set(found.bits);
      this.from = this.to = null;
      this.say("");
    } catch (error) {
      if (this.active && mine === this.asked) this.say(error.message, true);
    }
    this.viewer.request();
  }

  distance(a, b) {
    return Math.hypot(a[0] - b[0], a[1] - b[1]) * this.viewer.camera.scale;
  }

  // --- what is drawn over the picture ---

  over(pen, camera) {
    if (!this.active) return;
    const thin = 1 / camera.scale;
    const twice = (draw) => {
      for (const [colour, width] of [["#141018", 3 * thin], ["#fff", 1.4 * thin]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        pen.beginPath();
        draw();
        pen.stroke();
      }
    };
    if (this.at && (this.tool === "brush" || this.tool === "eraser")) {
      twice(() => pen.arc(...this.at, (this.size / 2) * thin, 0, 2 * Math.PI));
    }
    if (this.corners.length) {
      twice(() => {
        for (const corner of this.corners) pen.lineTo(...corner);
        if (this.at) pen.lineTo(...this.at);
      });
      for (const corner of this.corners) dot(pen, corner, 3.5 * thin, "#fff");
    }
    if (this.tool === "box" && this.from && this.to) {
      twice(() => pen.rect(...this.from, this.to[0] - this.from[0], this.to[1] - this.from[1]));
    }
    for (const { place, beside } of this.clicks) dot(pen, place, 5 * thin, beside ? "#ff5a6a" : "#3ddc84");
  }
}

function dot(pen, [x, y], radius, colour) {
  for (const [size, fill] of [[1.45, "#141018"], [1, colour]]) {
    pen.fillStyle = fill;
    pen.beginPath();
    pen.arc(x, y, radius * size, 0, 2 * Math.PI);
    pen.fill();
  }
}

function within(value) {
  return Math.min(1, Math.max(0, value));
}

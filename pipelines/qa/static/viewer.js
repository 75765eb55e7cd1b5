// A picture with its mask on a canvas, and the camera that looks at it.

const CASING = "rgb(20 16 24)";
const LINE = "rgb(255 214 10)";

// Where canvases look: `scale` screen pixels a picture pixel, its corner at (x, y).
export class Camera {
  constructor() {
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.viewers = [];
  }

  changed() {
    for (const viewer of this.viewers) viewer.request();
  }

  fit(width, height, box) {
    const room = 0.97;
    this.scale = Math.min((room * box.width) / width, (room * box.height) / height);
    this.x = (box.width - width * this.scale) / 2;
    this.y = (box.height - height * this.scale) / 2;
    this.changed();
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.changed();
  }

  zoom(factor, x, y) {
    const scale = Math.min(60, Math.max(0.05, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.changed();
  }
}

export class Viewer {
  constructor(canvas, camera) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.camera = camera;
    this.picture = null;
    this.mask = null;
    this.hidden = false;
    this.opacity = 0.12;
    // What a tool draws over it, called with the pen and the camera.
    this.over = null;
    this.waiting = false;
    this.drawn = [];
    camera.viewers.push(this);
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  show(picture, mask) {
    this.picture = picture;
    this.mask = mask;
    this.request();
  }

  get box() {
    return this.canvas.getBoundingClientRect();
  }

  fit() {
    if (this.picture) this.camera.fit(this.picture.width, this.picture.height, this.box);
  }

  resize() {
    const box = this.box;
    const dense = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(box.width * dense), Math.round(box.height * dense)];
    if (!width || (this.canvas.width === width && this.canvas.height === height)) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.fit();
    this.request();
  }

  // The place on the picture, in its pixels, under a pointer.
  place(event) {
    const box = this.box;
    const { x, y, scale } = this.camera;
    return [(event.clientX - box.left - x) / scale, (event.clientY - box.top - y) / scale];
  }

  request(done) {
    if (done) this.drawn.push(done);
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
      for (const call of this.drawn.splice(0)) call();
    });
  }

  draw() {
    const { pen, canvas, camera, picture, mask } = this;
    const dense = window.devicePixelRatio || 1;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!picture) return;
    const scale = camera.scale * dense;
    pen.setTransform(scale, 0, 0, scale, camera.x * dense, camera.y * dense);
    // Enlarged a lot, single pixels are what a reviewer wants to see.
    pen.imageSmoothingEnabled = camera.scale < 6;
    pen.drawImage(picture, 0, 0);
    if (mask && !this.hidden) {
      pen.imageSmoothingEnabled = false;
      pen.globalAlpha = this.opacity;
      pen.drawImage(mask.canvas, 0, 0);
      pen.globalAlpha = 1;
      pen.lineCap = "round";
      const path = mask.outline();
      for (const [colour, width] of [[CASING, 3.6], [LINE, 1.8]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width / camera.scale;
        pen.stroke(path);
      }
    }
    if (this.over) this.over(pen, camera);
  }
}

// Moving and zooming with mouse, wheel and fingers; what `tool` takes is the tool's. A second
// finger always moves and zooms, and ends what the first one began to draw.
export function navigate(viewer, tool) {
  const { canvas, camera } = viewer;
  const fingers = new Map();
  let drawing = null;
  const at = (event) => {
    const box = viewer.box;
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    camera.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), ...at(event));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, at(event));
    canvas.setPointerCapture(event.pointerId);
    if (fingers.size > 1) {
      if (drawing !== null) tool.cancel();
      drawing = null;
    } else if (tool.takes(event)) {
      drawing = event.pointerId;
      tool.down(event);
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    tool.hover(event);
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = at(event);
    fingers.set(event.pointerId, now);
    if (drawing === event.pointerId) return tool.move(event);
    if (fingers.size === 1) return camera.move(now[0] - before[0], now[1] - before[1]);
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
    const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
    camera.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    if (apart(before) > 1) {
      camera.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
  });
  const end = (event, finish) => {
    fingers.delete(event.pointerId);
    if (drawing !== event.pointerId) return;
    drawing = null;
    if (finish) tool.up(event);
    else tool.cancel();
  };
  canvas.addEventListener("pointerup", (event) => end(event, true));
  canvas.addEventListener("pointercancel", (event) => end(event, false));
  canvas.addEventListener("pointerleave", () => tool.hover(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", (event) => {
    if (!tool.double(event)) viewer.fit();
  });
}

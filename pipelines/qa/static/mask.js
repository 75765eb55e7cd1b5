// One mask at the size of the page's picture: its pixels, a tinted copy to draw, its outline.

const TINT = [255, 214, 10];

export class Mask {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.bits = new Uint8Array(width * height);
    this.canvas = new OffscreenCanvas(width, height);
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.path = null;
  }

  static async fetch(address, signal) {
    const answer = await fetch(address, { signal });
    if (!answer.ok) throw new Error(`no mask (${answer.status})`);
    return Mask.fromBlob(await answer.blob());
  }

  static async fromBlob(blob) {
    const picture = await createImageBitmap(blob);
    const mask = new Mask(picture.width, picture.height);
    mask.pen.drawImage(picture, 0, 0);
    picture.close();
    const pixels = mask.pen.getImageData(0, 0, mask.width, mask.height).data;
    for (let at = 0; at < mask.bits.length; at++) mask.bits[at] = pixels[4 * at] >= 128 ? 1 : 0;
    mask.tint();
    return mask;
  }

  copy() {
    const other = new Mask(this.width, this.height);
    other.set(this.bits);
    return other;
  }

  set(bits) {
    this.bits.set(bits);
    this.tint();
  }

  // Put the pixels on the tinted canvas.
  tint() {
    const picture = new ImageData(this.width, this.height);
    const words = new Uint32Array(picture.data.buffer);
    const colour = new Uint32Array(new Uint8Array([...TINT, 255]).buffer)[0];
    for (let at = 0; at < words.length; at++) words[at] = this.bits[at] ? colour : 0;
    this.pen.putImageData(picture, 0, 0);
    this.path = null;
  }

  // Take the pixels from the tinted canvas, on which a tool has drawn.
  read() {
    const pixels = this.pen.getImageData(0, 0, this.width, this.height).data;
    for (let at = 0; at < this.bits.length; at++) this.bits[at] = pixels[4 * at + 3] >= 128 ? 1 : 0;
    this.path = null;
  }

  get area() {
    let sum = 0;
    for (const bit of this.bits) sum += bit;
    return sum;
  }

  // The border between pixels of the mask and others (marching squares), as one path.
  outline() {
    if (this.path) return this.path;
    const { width, height, bits } = this;
    const path = new Path2D();
    const first = bits.indexOf(1);
    if (first < 0) return (this.path = path);
    const top = Math.floor(first / width) - 1;
    const bottom = Math.floor(bits.lastIndexOf(1) / width);
    for (let y = top; y <= bottom; y++) {
      const up = y * width;
      const down = up + width;
      const above = y >= 0;
      const below = y + 1 < height;
      let a = 0;
      let c = 0;
      for (let x = -1; x < width; x++) {
        const inside = x + 1 < width;
        const b = above && inside ? bits[up + x + 1] : 0;
        const d = below && inside ? bits[down + x + 1] : 0;
        const which = (a << 3) | (b << 2) | (c << 1) | d;
        if (which !== 0 && which !== 15) cell(path, which, x + 0.5, y + 0.5);
        a = b;
        c = d;
      }
    }
    return (this.path = path);
  }

  async png() {
    const canvas = new OffscreenCanvas(this.width, this.height);
    const pen = canvas.getContext("2d");
    const picture = new ImageData(this.width, this.height);
    const words = new Uint32Array(picture.data.buffer);
    const black = new Uint32Array(new Uint8Array([0, 0, 0, 255]).buffer)[0];
    for (let at = 0; at < words.length; at++) words[at] = this.bits[at] ? 0xffffffff : black;
    pen.putImageData(picture, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/png" });
    return base64(new Uint8Array(await blob.arrayBuffer()));
  }
}

// One cell of four pixel centres whose upper left one is at (x, y): a b over c d.
function cell(path, which, x, y) {
  const T = [x + 0.5, y];
  const R = [x + 1, y + 0.5];
  const B = [x + 0.5, y + 1];
  const L = [x, y + 0.5];
  const line = (from, to) => {
    path.moveTo(from[0], from[1]);
    path.lineTo(to[0], to[1]);
  };
  switch (which) {
    case 1: case 14: line(R, B); break;
    case 2: case 13: line(L, B); break;
    case 3: case 12: line(L, R); break;
    case 4: case 11: line(T, R); break;
    case 5: case 10: line(T, B); break;
    case 6: line(T, R); line(L, B); break;
    case 9: line(T, L); line(R, B); break;
    case 7: case 8: line(T, L); break;
  }
}

function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) {
    text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  }
  return btoa(text);
}

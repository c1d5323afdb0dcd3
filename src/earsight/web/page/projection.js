// The projection on a canvas: pan and zoom by mouse, touch and keys; fluid with 20,000 points.

import { drawSprite, spritesFor, wordOf } from "./sprites.js";

const LEAST = 0.8; // of the whole, and …
const MOST = 60; // … times larger, at most
const NEAR = 14; // CSS pixels within which a point is meant
const CLICK = 5; // CSS pixels that a click may move

export class Projection {
  /**
   * @param canvas Where to draw.
   * @param told {hover(index | -1, x, y), choose(index)}: what the person points at.
   */
  constructor(canvas, told) {
    this.canvas = canvas;
    this.told = told;
    this.points = { n: 0, reach: [1, 1] };
    this.query = null;
    this.chosen = -1;
    this.view = { x: 0, y: 0, zoom: 1 };
    this.fingers = new Map();
    this.waiting = false;
    new ResizeObserver(() => this.redraw()).observe(canvas);
    this.listen();
  }

  /**
   * @param points {n; x, y: Float32Array around 0; reach: [largest |x|, largest |y|];
   *   group, round, shown: Uint8Array; colours}
   */
  set(points) {
    this.points = points;
    this.chosen = -1;
    this.redraw();
  }

  /** Pixels of one unit of the plane. */
  get unit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return 0.46 * Math.min(width / this.points.reach[0], height / this.points.reach[1]) * this.view.zoom;
  }

  /** The screen as a function of the plane: [pixels of a unit, pixel of x = 0, pixel of y = 0]. */
  frame() {
    const { unit } = this;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return [unit, width / 2 - unit * this.view.x, height / 2 + unit * this.view.y];
  }

  toScreen(x, y) {
    const [unit, left, top] = this.frame();
    return [left + unit * x, top - unit * y];
  }

  all() {
    this.view = { x: 0, y: 0, zoom: 1 };
    this.redraw();
  }

  /** Zoom about a place of the screen, which stays where it is. */
  zoomBy(factor, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    const before = this.unit;
    this.view.zoom = Math.min(MOST, Math.max(LEAST, this.view.zoom * factor));
    const after = this.unit;
    const [dx, dy] = [px - this.canvas.clientWidth / 2, py - this.canvas.clientHeight / 2];
    this.view.x += dx / before - dx / after;
    this.view.y -= dy / before - dy / after;
    this.redraw();
  }

  panBy(dx, dy) {
    this.view.x = Math.min(1.5, Math.max(-1.5, this.view.x - dx / this.unit));
    this.view.y = Math.min(1.5, Math.max(-1.5, this.view.y + dy / this.unit));
    this.redraw();
  }

  /** Bring a point into view if it is out of it. */
  reveal(index) {
    const [px, py] = this.toScreen(this.points.x[index], this.points.y[index]);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (px > 20 && py > 20 && px < width - 20 && py < height - 20) return;
    this.view.x = this.points.x[index];
    this.view.y = this.points.y[index];
    this.redraw();
  }

  /** The shown point nearest to a place of the screen, or −1. */
  nearest(px, py, within = NEAR) {
    let [best, least] = [-1, within * within];
    const { n, x, y, shown } = this.points;
    const [unit, left, top] = this.frame();
    for (let i = 0; i < n; i += 1) {
      if (!shown[i]) continue;
      const distance = (left + unit * x[i] - px) ** 2 + (top - unit * y[i] - py) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  /** The shown point next to `from` in a direction of the screen, or −1. */
  next(from, dx, dy) {
    const { n, x, y, shown } = this.points;
    let [best, least] = [-1, Infinity];
    for (let i = 0; i < n; i += 1) {
      if (!shown[i] || i === from) continue;
      const along = (x[i] - x[from]) * dx - (y[i] - y[from]) * dy;
      const aside = Math.abs((x[i] - x[from]) * dy + (y[i] - y[from]) * dx);
      if (along <= 0 || aside > 2 * along) continue;
      const cost = along + 2 * aside;
      if (cost < least) [best, least] = [i, cost];
    }
    return best;
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const scale = Math.min(2, devicePixelRatio || 1);
    const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== wide) this.canvas.width = wide;
    if (this.canvas.height !== high) this.canvas.height = high;
    const style = getComputedStyle(this.canvas);
    const [paper, line, strong] = ["--plane", "--line", "--ink"].map((v) => style.getPropertyValue(v));
    const ink = this.canvas.getContext("2d");
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.putImageData(this.pressed(wide, high, scale, paper, line), 0, 0);
    ink.scale(scale, scale);
    if (this.chosen >= 0) this.ring(ink, this.points.x[this.chosen], this.points.y[this.chosen], strong);
    if (this.query) this.cross(ink, strong, paper);
  }

  /** The image of the axes and of all points that are shown. */
  pressed(wide, high, scale, paper, line) {
    const image = new ImageData(wide, high);
    const sheet = { wide, high, bytes: image.data, words: new Uint32Array(image.data.buffer) };
    const [unit, left, top] = this.frame().map((v) => v * scale);
    sheet.words.fill(wordOf(paper));
    const axis = wordOf(line);
    const [across, down] = [Math.round(left), Math.round(top)];
    if (down >= 0 && down < high) sheet.words.fill(axis, down * wide, (down + 1) * wide);
    for (let y = 0; across >= 0 && across < wide && y < high; y += 1) sheet.words[y * wide + across] = axis;
    const { n, x, y, group, round, shown, colours } = this.points;
    if (!n) return image;
    const crowd = n > 6000 ? 2.2 : n > 1500 ? 3.2 : 5;
    const radius = Math.min(9, crowd * this.view.zoom ** 0.35);
    const sprites = spritesFor(Math.round(radius * 4) / 4, scale, colours, paper);
    const half = sprites[0][0].size / 2;
    for (let i = 0; i < n; i += 1) {
      if (!shown[i]) continue;
      drawSprite(sheet, sprites[group[i]][round[i]],
        Math.round(left + unit * x[i] - half), Math.round(top - unit * y[i] - half));
    }
    return image;
  }

  ring(ink, x, y, colour) {
    const [px, py] = this.toScreen(x, y);
    ink.beginPath();
    ink.arc(px, py, 12, 0, 2 * Math.PI);
    ink.lineWidth = 2;
    ink.strokeStyle = colour;
    ink.stroke();
  }

  /** The query: a target, with its name. */
  cross(ink, colour, paper) {
    const [px, py] = this.toScreen(this.query.x, this.query.y);
    const stroke = (width, style) => {
      ink.lineWidth = width;
      ink.strokeStyle = style;
      ink.beginPath();
      ink.arc(px, py, 9, 0, 2 * Math.PI);
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        ink.moveTo(px + 5 * dx, py + 5 * dy);
        ink.lineTo(px + 15 * dx, py + 15 * dy);
      }
      ink.stroke();
    };
    stroke(6, paper);
    stroke(2.4, colour);
    ink.font = "600 13px Inter, system-ui, sans-serif";
    const name = this.query.name.length > 32 ? `${this.query.name.slice(0, 31)}…` : this.query.name;
    const wide = ink.measureText(name).width;
    const left = px + 20 + wide > this.canvas.clientWidth ? px - 20 - wide : px + 20;
    ink.lineWidth = 4;
    ink.strokeStyle = paper;
    ink.strokeText(name, left, py + 4.5);
    ink.fillStyle = colour;
    ink.fillText(name, left, py + 4.5);
  }

  listen() {
    const { canvas, fingers } = this;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...at(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, at(event));
      this.moved = fingers.size > 1 ? Infinity : 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const [px, py] = at(event);
      const before = fingers.get(event.pointerId);
      if (!before) {
        this.told.hover(this.nearest(px, py), px, py);
        return;
      }
      this.moved += Math.hypot(px - before[0], py - before[1]);
      if (fingers.size === 2) this.pinch(event.pointerId, before, [px, py]);
      else if (this.moved > CLICK) this.panBy(px - before[0], py - before[1]);
      fingers.set(event.pointerId, [px, py]);
    });
    const up = (event) => {
      if (!fingers.delete(event.pointerId) || event.type === "pointercancel") return;
      if (this.moved <= CLICK) this.told.choose(this.nearest(...at(event), event.pointerType === "mouse" ? NEAR : 2 * NEAR));
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("pointerleave", () => this.told.hover(-1, 0, 0));
  }

  /** Two fingers: their distance zooms, their middle moves. */
  pinch(moving, before, now) {
    const [other] = [...this.fingers].filter(([id]) => id !== moving).map(([, place]) => place);
    const apart = (a, b) => Math.max(10, Math.hypot(a[0] - b[0], a[1] - b[1]));
    this.zoomBy(apart(now, other) / apart(before, other), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    this.panBy((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  }
}

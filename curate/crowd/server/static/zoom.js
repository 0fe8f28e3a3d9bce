// Looking closer at the picture in a stage: Space, wheel, pinch, click; drag or arrows to move about. Three steps: the whole
// picture, 1:1 (where that is larger), three times.
"use strict";

const MOST = 3;
const MOVED_PX = 6; // less is a click
const HELD_MS = 300; // Space pressed for longer: only a glance

export class Zoom {
  constructor(stage) {
    this.stage = stage;
    this.img = stage.querySelector("img");
    this.pointers = new Map();
    this.reset();
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => this.up(event));
  }

  get on() {
    return this.scale > 1.01;
  }

  // How many times the fitted picture must grow to show one picture point per screen point.
  get natural() {
    const fitted = Math.min(this.stage.clientWidth / this.img.naturalWidth, this.stage.clientHeight / this.img.naturalHeight);
    return this.img.naturalWidth ? 1 / fitted : 1;
  }

  reset() {
    this.scale = 1;
    this.x = this.y = 0;
    this.aim = null;
    this.paint();
  }

  paint() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    this.x = Math.min(0, Math.max(width * (1 - this.scale), this.x));
    this.y = Math.min(0, Math.max(height * (1 - this.scale), this.y));
    this.img.style.transform = this.on ? `translate(${this.x}px, ${this.y}px) scale(${this.scale})` : "";
    this.stage.classList.toggle("zoomed", this.on);
    this.stage.dataset.scale = this.scale.toFixed(2);
  }

  // Grow to `scale`, what is under the point staying there.
  to(scale, point) {
    const { x, y } = point || this.aim || { x: this.stage.clientWidth / 2, y: this.stage.clientHeight / 2 };
    const next = Math.min(Math.max(1, scale), Math.max(MOST, this.natural));
    this.x = x - ((x - this.x) * next) / this.scale;
    this.y = y - ((y - this.y) * next) / this.scale;
    this.scale = next;
    this.paint();
  }

  step(point) {
    const steps = [1, ...(this.natural > 1.2 && this.natural < MOST - 0.2 ? [this.natural] : []), MOST];
    this.to(steps.find((s) => s > this.scale + 0.05) || 1, point);
  }

  pan(x, y) {
    this.x -= x * this.stage.clientWidth * 0.2;
    this.y -= y * this.stage.clientHeight * 0.2;
    this.paint();
  }

  press() {
    this.pressed = performance.now();
    this.step();
  }

  release() {
    if (this.pressed && performance.now() - this.pressed > HELD_MS) this.reset();
    this.pressed = 0;
  }

  place(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  wheel(event) {
    event.preventDefault();
    this.to(this.scale * Math.exp(-event.deltaY * 0.002), this.place(event));
  }

  down(event) {
    if (event.button > 0 || event.target.closest("button")) return;
    if (!this.pointers.size) this.travel = 0;
    this.pointers.set(event.pointerId, this.place(event));
    this.stage.setPointerCapture(event.pointerId);
  }

  move(event) {
    const now = this.place(event);
    if (event.pointerType === "mouse") this.aim = now;
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.travel += Math.hypot(now.x - before.x, now.y - before.y);
    if (other) {
      const span = (p) => Math.max(1, Math.hypot(p.x - other.x, p.y - other.y));
      this.to((this.scale * span(now)) / span(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    } else {
      this.x += now.x - before.x;
      this.y += now.y - before.y;
      this.paint();
    }
    this.pointers.set(event.pointerId, now);
  }

  up(event) {
    const known = this.pointers.delete(event.pointerId);
    if (known && event.type === "pointerup" && this.travel < MOVED_PX && !this.pointers.size) this.step(this.place(event));
  }
}

// Type-ahead: `/` and a few letters narrow the answers down, never reordering them; Enter takes the first that is left.
"use strict";

const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

// Answers that fit, those with a word that begins so before those that only hold it.
export function fitting(names, typed) {
  const wanted = plain(typed.trim());
  const starts = [];
  const holds = [];
  names.forEach((name, n) => {
    const known = plain(name);
    if (` ${known}`.replace(/[^\p{L}\p{N}]+/gu, " ").includes(` ${wanted}`)) starts.push(n);
    else if (known.includes(wanted)) holds.push(n);
  });
  return [...starts, ...holds];
}

export class Find {
  // current: the item in view; onPick(input); onCount(how many are left).
  constructor({ box, current, onPick, onCount, onClose }) {
    Object.assign(this, { box, current, onPick, onCount, onClose });
    this.input = box.querySelector("input");
    this.first = null;
    this.input.addEventListener("input", () => this.narrow());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => this.input.value || this.close(false));
  }

  get open() {
    return !this.box.hidden;
  }

  show() {
    this.current().querySelector(".answers").prepend(this.box);
    this.box.hidden = false;
    this.input.value = "";
    this.input.focus();
    this.narrow();
  }

  narrow() {
    const choices = [...this.current().querySelectorAll(".choice")];
    const fit = fitting(choices.map((c) => c.querySelector(".name").textContent), this.input.value);
    const some = Boolean(this.input.value.trim());
    this.first = some && fit.length ? choices[fit[0]] : null;
    choices.forEach((choice, n) => {
      choice.classList.toggle("unmatched", some && !fit.includes(n));
      choice.classList.toggle("first", choice === this.first);
    });
    if (some) this.onCount(fit.length);
  }

  key(event) {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Escape") this.close();
    else if (event.key === "Enter" && this.first) {
      const input = this.first.querySelector("input");
      this.close();
      this.onPick(input);
    } else if (event.key !== "Enter") return;
    event.preventDefault();
  }

  close(back = true) {
    if (!this.open) return;
    this.input.value = "";
    this.narrow();
    this.box.hidden = true;
    if (back) this.onClose();
  }
}

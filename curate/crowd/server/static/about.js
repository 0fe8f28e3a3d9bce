// What an answer means, beside the picture: on hover, on focus by keyboard, by a long press or by Shift and its key.
"use strict";

const HOVER_MS = 500;
const LONG_MS = 500;

export class About {
  // panel: where it is shown; meaning(key): the element that says it, or null.
  constructor({ panel, form, meaning, onTell }) {
    Object.assign(this, { panel, meaning, onTell });
    this.timer = 0;
    this.held = false; // a long press is no choice
    const over = (event) => event.target.closest?.(".choice");
    form.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "mouse") return;
      const choice = over(event);
      if (choice) this.later(choice, HOVER_MS);
      else if (!event.target.closest("#about")) this.hide();
    });
    form.addEventListener("focusin", (event) => {
      if (over(event) && event.target.matches(":focus-visible")) this.later(over(event), HOVER_MS);
      else if (!this.held) this.hide();
    });
    form.addEventListener("pointerdown", (event) => {
      this.held = false;
      if (event.pointerType === "mouse" || !over(event)) return event.target.closest("#about") || this.hide();
      return this.later(over(event), LONG_MS, () => (this.held = true));
    });
    for (const end of ["pointerup", "pointercancel"]) form.addEventListener(end, (event) => event.pointerType !== "mouse" && clearTimeout(this.timer));
    form.addEventListener("contextmenu", (event) => over(event) && this.held && event.preventDefault());
  }

  get open() {
    return !this.panel.hidden;
  }

  later(choice, ms, then = () => {}) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      then();
      this.show(choice);
    }, ms);
  }

  show(choice, tell = false) {
    const meaning = this.meaning(choice.querySelector("input").value);
    if (!meaning) return this.hide();
    const said = meaning.cloneNode(true);
    for (const details of said.querySelectorAll("details")) details.open = true;
    for (const known of said.querySelectorAll("[id]")) known.removeAttribute("id");
    this.panel.querySelector(".body").replaceChildren(...said.childNodes);
    for (const img of this.panel.querySelectorAll("img")) img.loading = "eager";
    this.panel.hidden = false;
    if (tell) this.onTell(this.panel.querySelector(".body").innerText.replace(/\s+/g, " "));
    return undefined;
  }

  hide() {
    clearTimeout(this.timer);
    this.panel.hidden = true;
  }
}

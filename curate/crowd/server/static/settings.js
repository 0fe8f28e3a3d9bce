// How somebody likes to work, kept in this browser: each is a checkbox with data-setting somewhere on the page.
"use strict";

const STORE = "consenso.settings";

export function readSettings() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(STORE)) || {};
  } catch {
    // a private window: the defaults
  }
  const settings = { advance: true, keys: true, next: false, ...kept };
  const boxes = [...document.querySelectorAll("[data-setting]")];
  const paint = () => boxes.forEach((box) => (box.checked = settings[box.dataset.setting]));
  for (const box of boxes) {
    box.addEventListener("change", () => {
      settings[box.dataset.setting] = box.checked;
      paint();
      try {
        localStorage.setItem(STORE, JSON.stringify(settings));
      } catch {
        // it holds until the page is left
      }
    });
  }
  paint();
  return settings;
}

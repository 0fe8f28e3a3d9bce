// The time left of a HIT, shown at every second and said aloud twice.
"use strict";

const WARN_MINUTES = [5, 1];

export function startClock(shown, spoken, words) {
  if (!shown) return;
  const end = performance.now() + 1000 * Number(shown.dataset.left);
  const secondsLeft = () => Math.max(0, Math.round((end - performance.now()) / 1000));
  let before = secondsLeft() + 1;
  const tick = () => {
    const left = secondsLeft();
    shown.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} ${words.time_left}`;
    shown.classList.toggle("short", left <= 60 * WARN_MINUTES[0]);
    shown.classList.toggle("last", left <= 60 * WARN_MINUTES[1]);
    const due = WARN_MINUTES.find((minutes) => before > 60 * minutes && left <= 60 * minutes && left > 60 * minutes - 5);
    if (due) spoken.textContent = due === 1 ? words.one_minute : words.five_minutes;
    if (left === 0) spoken.textContent = words.too_late;
    before = left;
  };
  tick();
  setInterval(tick, 1000);
}

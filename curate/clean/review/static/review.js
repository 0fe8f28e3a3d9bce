// A key decides and the next pair is there. Without this the page is a plain form with two buttons.
"use strict";

const byId = (id) => document.getElementById(id);
const pair = byId("pair");
const help = byId("help");
const stages = [...pair.querySelectorAll(".stage")];
const images = stages.map((stage) => stage.querySelector("img"));
const buttons = Object.fromEntries([...byId("decide").querySelectorAll("button")].map((button) => [button.value, button]));
let sent = false;

function decide(word) {
  if (sent) return; // a key pressed twice decides one pair
  sent = true;
  byId("decide").requestSubmit(buttons[word]);
}

byId("decide").addEventListener("submit", () => (sent = true));
byId("undo").addEventListener("submit", () => (sent = true));

function undo() {
  if (sent || byId("undo").querySelector("button").disabled) return;
  byId("undo").requestSubmit();
}

function zoom() {
  byId("zoom").setAttribute("aria-pressed", String(pair.classList.toggle("zoomed")));
  stages[0].scrollTo((stages[0].scrollWidth - stages[0].clientWidth) / 2, (stages[0].scrollHeight - stages[0].clientHeight) / 2);
}

// Each picture in the other's place: what differs jumps to the eye. Their mirroring goes with them.
function blink() {
  const [a, b] = images.map((image) => [image.src, image.className, image.alt]);
  [b, a].forEach(([src, name, alt], at) => Object.assign(images[at], { src, className: name, alt }));
  byId("blink").setAttribute("aria-pressed", String(byId("blink").getAttribute("aria-pressed") !== "true"));
}

const follow = (link) => link.href && link.click();
const KEYS = {
  m: () => decide("same"),
  s: () => decide("different"),
  k: () => decide(byId("now").dataset.keep),
  b: blink,
  z: zoom,
  "?": () => help.showModal(),
  backspace: undo,
  arrowleft: () => follow(byId("back")),
  arrowright: () => follow(byId("next")),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat || help.open) return;
  const act = KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

byId("zoom").addEventListener("click", zoom);
byId("blink").addEventListener("click", blink);
byId("show-help").addEventListener("click", () => help.showModal());
stages.forEach((stage, at) => {
  stage.addEventListener("click", zoom);
  images[at].addEventListener("error", () => stage.classList.add("failed"));
  images[at].addEventListener("load", () => stage.classList.remove("failed"));
  stage.addEventListener("scroll", () => { // both show the same place
    const other = stages[1 - at];
    other.scrollTop = (stage.scrollTop / Math.max(1, stage.scrollHeight - stage.clientHeight)) * (other.scrollHeight - other.clientHeight);
    other.scrollLeft = (stage.scrollLeft / Math.max(1, stage.scrollWidth - stage.clientWidth)) * (other.scrollWidth - other.clientWidth);
  });
});
window.addEventListener("pageshow", () => (sent = false));
for (const name of pair.dataset.ahead.split(" ").filter(Boolean)) new Image().src = `/picture/${name}`;
document.documentElement.classList.add("js");

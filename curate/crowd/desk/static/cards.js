// One picture to decide: a key chooses and sends. Without this the page is a plain form with a button.
"use strict";

const form = document.getElementById("decide");
const help = document.getElementById("help");
const stage = form.querySelector(".stage");
const image = stage.querySelector("img");
const labels = [...form.querySelectorAll(".choice")];
const byId = (id) => document.getElementById(id);
let sent = false;

function send() {
  if (sent) return; // a key pressed twice decides one picture
  sent = true;
  form.requestSubmit();
}

function choose(label) {
  label.querySelector("input").checked = true;
  send();
}

function zoom() {
  stage.classList.toggle("zoomed");
  if (!stage.classList.contains("zoomed")) image.classList.remove("aimed");
}

function go(link) {
  if (link.href) link.click();
}

labels.forEach((label) => {
  // A pointer decides. Arrow keys inside the group also click, with detail 0: they only choose, and Enter decides.
  label.addEventListener("click", (event) => {
    if (event.detail > 0 && event.target.tagName !== "INPUT") {
      event.preventDefault();
      choose(label);
    } else if (event.detail > 0) choose(label);
  });
});

const MOVES = {
  "?": () => help.showModal(),
  Backspace: () => byId("undo").requestSubmit(),
  ArrowLeft: () => go(byId("back")),
  ArrowRight: () => go(byId("next")),
  " ": zoom,
};

function enter() {
  const checked = form.querySelector("input[type=radio]:checked");
  if (checked && !checked.defaultChecked) send();
  else if (checked) go(byId("next"));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat || help.open) return;
  if (event.target.closest("textarea")) return;
  const key = event.key;
  const label = labels.find((one) => one.dataset.key && one.dataset.key === key.toLowerCase());
  const move = MOVES[key] || (key === "z" && MOVES.Backspace);
  const radio = event.target.type === "radio";
  if (event.target.closest("button, a") && (key === "Enter" || key === " ")) return;
  if (label) choose(label);
  else if (move && !(key === "Backspace" && byId("undo").querySelector("button").disabled)) move();
  else if (key === "Enter") enter();
  else if (!radio && (key === "ArrowDown" || key === "ArrowUp")) (labels.find((one) => one.querySelector("input").checked) || labels[0]).querySelector("input").focus();
  else return;
  event.preventDefault();
});

byId("zoom").addEventListener("click", zoom);
stage.addEventListener("click", zoom);
byId("show-help").addEventListener("click", () => help.showModal());
image.addEventListener("error", () => form.classList.add("no-picture"));
window.addEventListener("pageshow", () => (sent = false));

if (form.dataset.after !== "done") new Image().src = form.dataset.ahead;
document.documentElement.classList.add("js");

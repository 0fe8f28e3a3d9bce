// The page around a requester's own page. The frame is sandboxed and cannot tell us that it was sent: after each load we ask.
"use strict";

const frame = document.getElementById("task");
const time = document.querySelector(".time");
const end = Date.now() + 1000 * Number(time.dataset.left);

frame.addEventListener("load", async () => {
  frame.focus(); // keys do not reach a sandboxed frame before
  const reply = await fetch(frame.dataset.state, { headers: { Accept: "application/json" } });
  if (reply.ok && (await reply.json()).status === "Submitted") location.assign("/work?done=1");
});

function tick() {
  const left = Math.max(0, Math.round((end - Date.now()) / 1000));
  time.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  time.classList.toggle("short", left < 120);
}
tick();
setInterval(tick, 1000);

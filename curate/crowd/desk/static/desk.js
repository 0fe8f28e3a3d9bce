// Keeps the dashboard fresh without disturbing the person: a part that is being used stays as it is until it is left.
"use strict";

const EVERY_MS = 10000;
const parts = () => [...document.querySelectorAll("[data-live]")];
let order = null; // the column and direction that the person chose

function busy(part) {
  const active = document.activeElement;
  const typed = [...part.querySelectorAll("input:not([type=hidden])")].some((input) => input.value);
  return typed || (part.contains(active) && active.matches("input, button, a, select"));
}

function value(row, column) {
  const text = row.cells[column].dataset.sort;
  const number = Number(text);
  return text === "" || Number.isNaN(number) ? text : number;
}

function sort() {
  const table = document.getElementById("people");
  if (!table || !order) return;
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [value(a, order.column), value(b, order.column)];
    return (x < y ? -1 : x > y ? 1 : 0) * (order.down ? -1 : 1);
  });
  body.append(...rows);
  [...table.tHead.rows[0].cells].forEach((cell, n) => {
    cell.setAttribute("aria-sort", n !== order.column ? "none" : order.down ? "descending" : "ascending");
  });
}

document.addEventListener("click", (event) => {
  const head = event.target.closest(".sortable th button");
  if (!head) return;
  const column = head.closest("th").cellIndex;
  order = { column, down: order !== null && order.column === column ? !order.down : column > 0 };
  sort();
});

function put(page) {
  for (const part of parts()) {
    const fresh = page.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!fresh || busy(part) || fresh.innerHTML === part.innerHTML) continue;
    const scroll = part.querySelector(".scroll")?.scrollLeft;
    part.replaceChildren(...document.adoptNode(fresh).childNodes);
    if (scroll) part.querySelector(".scroll").scrollLeft = scroll;
    if (part.dataset.live === "workers") sort();
  }
}

async function refresh() {
  const said = document.getElementById("fresh");
  try {
    if (!document.hidden) {
      const reply = await fetch(location.pathname, { cache: "no-store" });
      if (!reply.ok) throw new Error(reply.status);
      put(new DOMParser().parseFromString(await reply.text(), "text/html"));
      said.textContent = `as of ${new Date().toLocaleTimeString()}`;
      said.classList.remove("bad");
    }
  } catch {
    said.textContent = "the desk or the crowd does not answer; these figures are old";
    said.classList.add("bad");
  }
  setTimeout(refresh, EVERY_MS);
}

setTimeout(refresh, EVERY_MS);

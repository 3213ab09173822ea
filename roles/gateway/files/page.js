"use strict";
// A reader may have come by a name or by an address: the links stay with it.
for (const link of document.querySelectorAll("a[data-here]")) link.hostname = location.hostname;

async function ask(cell) {
  let state;
  try {
    const answer = await fetch(`/status/${cell.dataset.status}`, { credentials: "omit", redirect: "manual", cache: "no-store" });
    state = answer.type === "opaqueredirect" || answer.status < 500 ? "up" : "down";
  } catch {
    state = "unknown";
  }
  cell.textContent = state;
  cell.className = state;
}

function askAll() {
  if (document.visibilityState === "visible") document.querySelectorAll("td[data-status]").forEach(ask);
}

askAll();
setInterval(askAll, 30000);
document.addEventListener("visibilitychange", askAll);

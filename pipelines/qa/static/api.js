// Questions to the server, and names that no two presses of a key share.

// Browsers take no more than 64 KiB along when a page closes.
const LAST_BYTES = 60_000;

export async function ask(path, body) {
  const text = JSON.stringify(body);
  const answer = await fetch(`/api/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: text,
    keepalive: text.length < LAST_BYTES,
  });
  if (answer.ok) return answer;
  let said = `the server answered ${answer.status}`;
  try {
    const { detail } = await answer.json();
    if (typeof detail === "string") said = detail;
  } catch {
    // Not JSON: the number says enough.
  }
  throw Object.assign(new Error(said), { status: answer.status });
}

// Send something while the page closes; nobody waits for the answer.
export function leaveBehind(path, body) {
  const text = JSON.stringify(body);
  if (text.length >= LAST_BYTES) return;
  navigator.sendBeacon(`/api/${path}`, new Blob([text], { type: "application/json" }));
}

// `crypto.randomUUID` is there for https and localhost alone.
export function newKey() {
  const words = crypto.getRandomValues(new Uint32Array(4));
  return [...words].map((word) => word.toString(16).padStart(8, "0")).join("");
}

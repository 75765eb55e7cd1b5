// Questions to the server, and names that no two presses of a key share.

export async function ask(path, body, options = {}) {
  const answer = await fetch(`/api/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    ...options,
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

// `crypto.randomUUID` is there for https and localhost alone.
export function newKey() {
  const words = crypto.getRandomValues(new Uint32Array(4));
  return [...words].map((word) => word.toString(16).padStart(8, "0")).join("");
}

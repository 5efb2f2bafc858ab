// A command to the car, and its answer: `{ data }` where it was done, `{ error, code }` where not.

export async function ask(verb, content = {}) {
  try {
    const answer = await fetch(`/api/command/${verb}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(content),
    });
    if (!answer.headers.get("Content-Type")?.startsWith("application/json")) {
      return { error: await answer.text(), code: "refused" };
    }
    const reply = await answer.json();
    if (reply.status === "ok") return { data: reply.data };
    return { error: reply.error.message, code: reply.error.code };
  } catch {
    return { error: "The car does not answer; nothing was changed as far as this page knows.", code: "no-answer" };
  }
}

// A command to the car, and its answer: `{ data }` where it was done, `{ error, code }` where not.

import { language, said, text } from "/language.js";

export async function ask(verb, content = {}) {
  try {
    const answer = await fetch(`/api/command/${verb}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Accept-Language": language },
      body: JSON.stringify(content),
    });
    if (!answer.headers.get("Content-Type")?.startsWith("application/json")) {
      return { error: await answer.text(), code: "refused" };
    }
    const reply = await answer.json();
    if (reply.status === "ok") return { data: reply.data };
    const { code, message } = reply.error;
    return { error: said(message, `error.${code}`), code };
  } catch {
    return { error: text("connection.noAnswer"), code: "no-answer" };
  }
}

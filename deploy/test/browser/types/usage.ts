// What somebody with TypeScript writes. It is compiled, not run.

import { cancel, CasewatchError, follow, start, type CaseState, type Reason, type StartAnswer } from "../../../../functions/status/files/casewatch.js";

export async function watch(form: object, show: (line: string) => void): Promise<Reason | null> {
  const stop = new AbortController();
  const answer: StartAnswer = await start("https://start.example", form, { deadline: "30m", supersede: true, signal: stop.signal });
  const following = follow(answer.status_url, {
    onProgress: ({ completed, total, percent, eta_seconds }) => show(`${completed} of ${total}, ${percent.toFixed(1)} %, ${eta_seconds ?? "?"} s`),
    onTrouble: (trouble) => show(trouble?.message ?? "back"),
    signal: stop.signal,
  });
  for await (const state of following) {
    // @ts-expect-error a state is frozen
    state.completed = 1;
    if (state.stalled) await cancel(answer.cancel_url);
  }
  try {
    const end: CaseState = await following;
    return end.reason;
  } catch (error) {
    if (error instanceof CasewatchError) show(error.errors.map((fault) => fault.detail).join());
    // @ts-expect-error the address is missing
    await follow();
    return null;
  }
}

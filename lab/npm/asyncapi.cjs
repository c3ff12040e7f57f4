// Parses an AsyncAPI document with the official parser and prints what it has to say. Ends with 1 unless the document is valid.
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

(async () => {
  const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
  // Severity 0 is an error, 1 a warning, 2 information, such as that 3.1 is newer than 3.0.
  for (const d of diagnostics.filter((d) => d.severity < 2)) console.log(d.code, d.path.join("."), d.message);
  const count = (list) => list.all().length;
  if (document) console.log(`servers ${count(document.servers())} channels ${count(document.channels())} operations ${count(document.operations())}`);
  process.exit(document && diagnostics.every((d) => d.severity > 1) ? 0 : 1);
})();

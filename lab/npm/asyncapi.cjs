// Parses AsyncAPI documents with the official parser, and prints a line for each: what was counted in it, or what is wrong with it.
// Ends with 1 unless all are valid.
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

(async () => {
  const parser = new Parser();
  const count = (list) => list.all().length;
  for (const file of process.argv.slice(2)) {
    const { document, diagnostics } = await parser.parse(readFileSync(file, "utf8"));
    // Severity 0 is an error, 1 a warning, 2 information, such as that 3.1 is newer than 3.0.
    const wrong = diagnostics.filter((d) => d.severity < 2).map((d) => `${d.code} ${d.path.join(".")} ${d.message}`);
    if (!document || wrong.length > 0) process.exitCode = 1;
    console.log(wrong.length > 0 || !document ? `${file}: ${wrong.join("; ")}` :
      `servers ${count(document.servers())} channels ${count(document.channels())} operations ${count(document.operations())}`);
  }
})();

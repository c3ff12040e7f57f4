package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// AsyncAPI has the official parser of AsyncAPI judge a document, and returns what it counted in it. Where the parser is not
// installed the test is skipped, unless ROLLCALL_NPM says that it is.
func AsyncAPI(t testing.TB, document []byte) string {
	t.Helper()
	dir, must := os.LookupEnv("ROLLCALL_NPM")
	if cache, err := os.UserCacheDir(); err == nil && !must {
		dir = filepath.Join(cache, "rollcall-npm")
	}
	_, err := os.Stat(filepath.Join(dir, "node_modules", "@asyncapi", "parser"))
	node, noNode := exec.LookPath("node")
	switch {
	case must && (err != nil || noNode != nil):
		t.Fatalf("the parser of AsyncAPI is not in ROLLCALL_NPM: %v, %v", err, noNode)
	case noNode != nil:
		t.Skip("Node.js is missing: apt-get install nodejs npm, then lab/npm.sh")
	case err != nil:
		t.Skip("the parser of AsyncAPI is missing: lab/npm.sh installs it")
	}
	file := filepath.Join(t.TempDir(), "asyncapi.json")
	if err := os.WriteFile(file, document, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), node, filepath.Join(top(t), "lab", "npm", "asyncapi.cjs"), file)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the parser of AsyncAPI: %v\n%.4000s", err, out)
	}
	return string(out)
}

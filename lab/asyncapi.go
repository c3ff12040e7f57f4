package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// AsyncAPI has the official parser of AsyncAPI judge documents, and returns what it counted in each. Where the parser is not
// installed the test is skipped, unless ROLLCALL_NPM says that it is.
func AsyncAPI(t testing.TB, documents ...[]byte) []string {
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
	args, folder := []string{filepath.Join(top(t), "lab", "npm", "asyncapi.cjs")}, t.TempDir()
	for i, d := range documents {
		file := filepath.Join(folder, strconv.Itoa(i)+".json")
		if err := os.WriteFile(file, d, 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	cmd := exec.CommandContext(context.Background(), node, args...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the parser of AsyncAPI: %v\n%.4000s", err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

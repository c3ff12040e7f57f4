# Rollcall. `make help` lists the targets.
PREFIX    ?= /usr/local
SYSCONF   ?= /etc
UDEVDIR   ?= /usr/lib/udev/rules.d
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
BINARIES  := udpsrv udpmon agentd
# The race detector needs a C compiler; without one the tests run without it.
RACE      := $(shell command -v gcc >/dev/null 2>&1 && [ "$$(go env GOARCH 2>/dev/null)" != arm ] && echo -race)
GOTEST    := CGO_ENABLED=$(if $(RACE),1,0) go test $(RACE) -shuffle=on
STATIC    := go run honnef.co/go/tools/cmd/staticcheck@v0.7.0
FUZZTIME  ?= 20s
export CGO_ENABLED ?= 0

.PHONY: help build test check demo run cross bench fuzz lab install uninstall docs man clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## build udpsrv, udpmon and agentd into bin/
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./udpsrv ./udpmon ./agents/agentd

test: ## run the tests that need nothing but Go
	$(GOTEST) ./...

check: ## gofmt, vet, staticcheck, layers, cross builds, tidy, units
	lab/check.sh '$(STATIC)'

demo: build ## start a host on this machine, sweep it, stop it
	lab/demo.sh

run: build ## start a host on this machine and keep it until Ctrl-C
	lab/demo.sh --keep

cross: ## build for every platform into dist/
	lab/cross.sh '$(LDFLAGS)'

bench: build ## measure; the figures of docs/benchmarks.md
	lab/bench.sh

fuzz: ## fuzz every parser for FUZZTIME each (20s)
	lab/fuzz.sh $(FUZZTIME)

lab: build ## the tests on many hosts and on a real kernel's GPIO; as root
	lab/lab.sh

# sudo often hides go: then what `make build` made is installed.
install: $(if $(shell command -v go 2>/dev/null),build) ## install binaries, units, manual pages, completion and an example configuration below DESTDIR
	systemd/install.sh '$(DESTDIR)' '$(PREFIX)' '$(SYSCONF)' '$(UDEVDIR)'

uninstall: ## take away what install has put in place; a changed configuration stays
	systemd/install.sh --remove '$(DESTDIR)' '$(PREFIX)' '$(SYSCONF)' '$(UDEVDIR)'

man: build ## write the manual pages into bin/man
	bin/udpsrv man bin/man && bin/udpmon man bin/man && bin/agentd man bin/man

docs: ## write the generated part of docs/ anew
	go test ./docs -run "Generated|AgentPages|GPIOTable" -update

clean: ## remove what was built
	rm -rf bin dist

# The observability stack without Docker: real programs built from the Go module proxy, kept in the user's cache folder.
.PHONY: stack test-stack stack-build env

stack: $(RUN_READY) $(ENGINE) ## collector, VictoriaLogs, Jaeger, Prometheus and otelbridge, without Docker (needs Go)
	$(BIN)/python -m stack

stack-build: $(RUN_READY) ## build the stack's programs into the cache, once
	$(BIN)/python -m stack build

test-stack: $(DEV_READY) $(ENGINE) ## workers through otelbridge into the real stores (needs Go)
	$(BIN)/python -m stack build
	TEST_STACK=1 $(PYTEST) tests/stack -rA --timeout=600 $(ARGS)

env: ## write .env for docker compose, with random secrets
	$(PYTHON) -m stack env

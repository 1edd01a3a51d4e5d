"""JavaScript guests: QuickJS-ng in WebAssembly."""

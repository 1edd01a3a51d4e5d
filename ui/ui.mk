# The pages in a real browser. Needs Chromium: `apt-get install chromium` on Debian, or CHROMIUM=/path/to/it.
.PHONY: test-ui pictures

test-ui: $(DEV_READY) $(ENGINE) $(PAGES) ## the pages in headless Chromium; ARGS="-k logs" for a part
	TEST_UI=1 $(PYTEST) tests/ui -rA --timeout=300 $(ARGS)

pictures: $(DEV_READY) $(ENGINE) $(PAGES) ## make docs/pictures anew, from real data
	TEST_UI=1 TEST_PICTURES=docs/pictures $(PYTEST) tests/ui/test_pictures.py --timeout=300 $(ARGS)

##@ picture: from bytes to pixels

FORMATS := picture/tests/formats

.PHONY: formats
formats: $(VENV)/formats.stamp ## write the files of the format matrix again, with the pixels that other decoders read
	@command -v cjpeg >/dev/null || { echo "cjpeg is missing: install it (Debian: apt-get install libjpeg-turbo-progs)" >&2; exit 1; }
	$(VENV)/bin/python $(FORMATS)/make_formats.py

$(VENV)/formats.stamp: $(FORMATS)/requirements.txt
	@.ci/environment.sh $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement $<
	@touch $@

# Everything is done by SwiftPM and the scripts; these are their short names.
.PHONY: build test demo bench dist format lint

build:
	bash Scripts/toolchain.sh
	bash Scripts/dependencies.sh
	swift build -c release

test:
	bash Scripts/test.sh

demo:
	bash Scripts/demo.sh

bench:
	python3 Benchmarks/run.py

format:
	swift format -i -r Sources Tests Examples Package.swift

lint:
	swift format lint --strict -r Sources Tests Examples Package.swift

dist:
	bash Scripts/dist.sh

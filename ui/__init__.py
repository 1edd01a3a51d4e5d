"""The pages: their sources in TypeScript, and the steps that make otelbridge/ui/ of them.

Used by hatch_build.py and ui_build.py only; never part of the installed package.
"""

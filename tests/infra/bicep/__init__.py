"""Reads Bicep files and evaluates them to the resources they would deploy, without Azure and without its compiler.

Supports the part of the language that infra/ uses, and refuses the rest: a template that leaves that part fails here.
"""

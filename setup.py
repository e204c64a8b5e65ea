"""Lists the sub-packages: the folder itself is the package `ltx2_pack`."""

from setuptools import find_packages, setup

found = find_packages(include=["ltx_core*", "nodes*", "headless*"])
setup(packages=["ltx2_pack", *(f"ltx2_pack.{name}" for name in found)])

# SPDX-License-Identifier: GPL-2.0-or-later
"""Culvert beside other programs on the same work; ../run.py is the front door."""

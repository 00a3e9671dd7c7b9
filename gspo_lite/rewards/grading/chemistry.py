"""Reads chemical formulas and equations as case-sensitive text: `H_2O`, `\\mathrm{H_{2}O}` and `H2O` are the same.

Nothing is balanced or reordered: the order of the elements is part of a formula.
"""

from __future__ import annotations

import re

ELEMENTS = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru
Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At
Rn Fr Ra Ac Th Pa U Np Pu
""".split()  # noqa: SIM905
ELEMENT = rf"(?:{'|'.join(sorted(ELEMENTS, key=len, reverse=True))})"
ATOMS = rf"(?:{ELEMENT}|\((?:{ELEMENT}\d{{0,3}}){{1,8}}\))\d{{0,3}}"
CHARGE = r"(?:\^?\d?[+-]|\^\d[+-])"
STATE = r"(?:\((?:aq|s|l|g)\))"
SPECIES = rf"\d{{0,3}}(?:{ATOMS}){{1,12}}(?:\*\d?H2O)?{CHARGE}?{STATE}?"
SUBSTANCE = re.compile(SPECIES)
REACTION = re.compile(rf"{SPECIES}(?:\+{SPECIES}){{0,5}}=>{SPECIES}(?:\+{SPECIES}){{0,5}}")
CHEMICAL = re.compile(r"[A-Za-z)](?:[2-9]|[1-9]\d)|[a-z]|[+-]$")  # a number of atoms, a longer symbol or a charge
MOST = 200  # characters


def compound_of(text: str) -> str | None:
    """Return a formula or an equation without layout; None for texts that need not be chemical, as `AB` or `2K`."""
    if len(text) > MOST or not re.search("[A-Z]", text):
        return None
    plain = re.sub(r"\\to(?![a-z])|\\rightleftharpoons|<=>", "=>", text)
    plain = re.sub(r"[_{} ]", "", re.sub(r"\\cdot(?![a-z])", "*", plain))
    if not REACTION.fullmatch(plain) and not (SUBSTANCE.fullmatch(plain) and CHEMICAL.search(plain)):
        return None
    return plain.replace("^", "")


def is_spelled(compound: str) -> bool:
    """Return whether a formula can be no product of variables: NaCl is not nacl."""
    return len(re.findall("[A-Z]", compound)) > 1 and re.search("[a-z]", compound) is not None

"""The names of units of measurement and currencies: one name for all spellings of a unit.

A name may be a product of powers, as `mile hour^-1`. Units of the SI come with their prefixes.
"""

from __future__ import annotations

from collections import Counter

# name -> its other spellings; case counts in those that are symbols of the SI
NAMES = {
    "inch": "in inches", "foot": "ft feet", "yard": "yd yds yards", "mile": "mi miles", "micron": "microns",
    "light-year": "light-years ly lightyear lightyears",
    "pound": "lb lbs pounds", "ounce": "oz ounces", "ton": "tons tonne tonnes", "stone": "stones",
    "second": "sec secs seconds", "minute": "min mins minutes", "hour": "h hr hrs hours",
    "day": "d days", "week": "wk wks weeks", "month": "mo months", "year": "yr yrs years", "decade": "decades",
    "gallon": "gal gals gallons", "quart": "qt qts quarts", "pint": "pt pts pints", "cup": "cups",
    "tablespoon": "tbsp tablespoons", "teaspoon": "tsp teaspoons", "acre": "acres", "hectare": "ha hectares",
    "degree": "deg degs degrees °", "radian": "rad rads radians", "steradian": "sr",
    "celsius": "°C °c centigrade", "fahrenheit": "°F °f", "decibel": "dB decibels",
    "atmosphere": "atm atmospheres", "mmhg": "mmHg", "mole": "mol moles", "byte": "B bytes", "bit": "bits",
    "molar": "M",
    "dollar": "$ US$ USD usd dollars buck bucks", "euro": "€ EUR eur euros",
    "yen": "¥ JPY 円", "sterling": "£ GBP quid",
    "rupee": "₹ INR Rs rupees", "cent": "cents ¢", "penny": "pennies pence p", "yuan": "CNY RMB 元", "won": "₩ KRW",
    "unit": "units", "knot": "knots kn", "percent": "% percentage",
}  # fmt: skip
SI = {
    "m": "meter metre", "g": "gram gramme", "s": "second", "A": "ampere amp", "K": "kelvin", "mol": "mole",
    "L": "liter litre",
    "l": "liter", "N": "newton", "J": "joule", "W": "watt", "Pa": "pascal", "Hz": "hertz", "C": "coulomb", "V": "volt",
    "F": "farad", "Ω": "ohm", "T": "tesla", "H": "henry", "eV": "electronvolt", "cal": "calorie", "B": "byte",
    "lm": "lumen", "lx": "lux", "Wb": "weber", "bar": "bar", "Bq": "becquerel", "Gy": "gray",
    "Sv": "sievert", "bit": "bit", "b": "bit", "rad": "radian",
}  # fmt: skip
PREFIXES = {
    "": "", "k": "kilo", "M": "mega", "G": "giga", "T": "tera", "P": "peta", "h": "hecto", "c": "centi", "d": "deci",
    "m": "milli", "μ": "micro", "µ": "micro", "n": "nano", "p": "pico", "f": "femto",
}  # fmt: skip
# case counts: symbol -> name
SYMBOLS = {prefix + symbol: PREFIXES[prefix] + names.split()[0] for symbol, names in SI.items() for prefix in PREFIXES}
SYMBOLS |= {"Nm": "newton meter", "Ah": "ampere hour", "mAh": "milliampere hour"}
SYMBOLS |= {f"{prefix}Wh": f"{PREFIXES[prefix]}watt hour" for prefix in PREFIXES}
SYMBOLS |= {one: name for name, others in NAMES.items() for one in others.split() if len(one) < 3}

# case does not count: word in small letters -> name
WORDS = {
    (prefix + name + ending).lower(): prefix + names.split()[0]
    for names in SI.values()
    for name in names.split()
    for prefix in PREFIXES.values()
    for ending in ("", "s")
}
WORDS |= {one.lower(): name for name, others in NAMES.items() for one in [name, *others.split()]}
WORDS |= {
    **dict.fromkeys(("kph", "kmph", "kmh"), "kilometer hour^-1"), "mph": "mile hour^-1", "fps": "foot second^-1",
    "bps": "bit second^-1", "rpm": "revolution minute^-1", "revolutions": "revolution", "cc": "centimeter^3",
    "sqft": "foot^2", "kilo": "kilogram", "kilos": "kilogram", "kgs": "kilogram", "kms": "kilometer",
    "cms": "centimeter", "mls": "milliliter",
}  # fmt: skip
FOLDED = Counter(symbol.lower() for symbol in SYMBOLS)
for symbol, name in SYMBOLS.items():  # KM and Kg, but not MN, which can be mN as well
    if len(symbol) > 1 and FOLDED[symbol.lower()] == 1:
        WORDS.setdefault(symbol.lower(), name)

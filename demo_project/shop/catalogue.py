"""The words from which the factories make a catalogue that reads like a shop's."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Department:
    """A category, and what its products are called and cost."""

    name: str
    icon: str
    blurb: str
    nouns: tuple[str, ...]
    cheapest: int
    dearest: int


DEPARTMENTS = (
    Department(
        "Mugs & Cups", "mug", "For the first coffee and the last tea.",
        ("Mug", "Cup", "Tumbler", "Beaker", "Espresso Cup", "Travel Mug"), 8, 45,
    ),
    Department(
        "Lamps", "lamp", "Warm light for long evenings.",
        ("Desk Lamp", "Floor Lamp", "Lantern", "Pendant", "Reading Light"), 25, 320,
    ),
    Department(
        "Chairs", "chair", "Take a seat, and stay in it.",
        ("Chair", "Stool", "Armchair", "Rocker", "Bench"), 60, 780,
    ),
    Department(
        "Backpacks", "backpack", "Room for what you need, and a little more.",
        ("Backpack", "Daypack", "Rucksack", "Roll-top", "Satchel"), 35, 260,
    ),
    Department(
        "Tents", "tent", "A roof wherever the road ends.",
        ("Tent", "Tarp", "Shelter", "Bivouac"), 80, 940,
    ),
    Department(
        "Bicycles", "bicycle", "Two wheels and no hurry.",
        ("City Bike", "Tourer", "Gravel Bike", "Cargo Bike", "Folding Bike"), 390, 3900,
    ),
    Department(
        "Cameras", "camera", "Keep the afternoon for later.",
        ("Camera", "Rangefinder", "Instant Camera", "Field Camera"), 90, 2400,
    ),
    Department(
        "Headphones", "headphones", "Your music, and nobody else's.",
        ("Headphones", "Earphones", "Headset", "Monitors"), 30, 590,
    ),
    Department(
        "Watches", "watch", "It is later than you think.",
        ("Watch", "Chronograph", "Field Watch", "Pocket Watch"), 70, 1900,
    ),
    Department(
        "House Plants", "plant", "Quiet company for your windowsill.",
        ("Fern", "Monstera", "Ficus", "Succulent", "Olive Tree", "Ivy"), 6, 140,
    ),
    Department(
        "Notebooks", "notebook", "Paper that wants to be written on.",
        ("Notebook", "Sketchbook", "Journal", "Planner", "Pocket Book"), 5, 60,
    ),
    Department(
        "Shoes", "shoe", "Made to be walked in.",
        ("Boots", "Sneakers", "Loafers", "Sandals", "Walking Shoes"), 45, 390,
    ),
)  # fmt: skip

BRANDS = (
    "Alder & Finch", "Bramblewick", "Copperfield", "Dunmore", "Eastlight", "Fjordvik",
    "Granary Row", "Hollow Oak", "Isle & Anchor", "Juniper Lane", "Kestrel Works", "Lowland Mill",
    "Marlowe", "Northwind", "Oriel", "Pinecrest", "Quarry Street", "Rook & Daughter",
    "Saltmarsh", "Thistledown", "Umber", "Vesper", "Wren Brothers", "Yarrow",
)  # fmt: skip

TAGS = (
    "Handmade", "Recycled", "Gift idea", "New arrival", "Repairable", "Limited edition",
    "Small batch", "Lightweight", "Waterproof", "Vintage look", "Fair trade", "Travel",
)  # fmt: skip

MOODS = (
    "Quiet", "Amber", "Northern", "Little", "Wandering", "Harbour", "Early", "Hidden", "Copper",
    "Drifting", "Evening", "Golden", "Honest", "Meadow", "Midnight", "Misty", "Patient", "River",
    "Rambling", "Silver", "Slow", "Sunday", "Tidal", "Winter",
)  # fmt: skip

MATERIALS = (
    "Oak", "Linen", "Slate", "Walnut", "Canvas", "Clay", "Cork", "Birch", "Brass", "Wool",
    "Ash", "Stone",
)  # fmt: skip

DESCRIPTIONS = (
    "Made in small batches by people who use it themselves.",
    "It does one thing, and has done it well for years.",
    "Every part can be taken off, cleaned and replaced.",
    "Light enough to forget, strong enough to hand down.",
    "The finish gets better the longer you have it.",
    "Comes in a box that is too nice to throw away.",
    "We tried forty of them before we put this one on the shelf.",
    "Ten years of guarantee, and a workshop that answers the phone.",
)

FIRST_NAMES = (
    "Ada", "Bruno", "Clara", "Dmitri", "Elif", "Farah", "Grace", "Hugo", "Ines", "Jonas", "Keiko",
    "Liam", "Mina", "Noor", "Oskar", "Priya", "Quentin", "Rosa", "Samir", "Tove", "Uma", "Viktor",
    "Wanda", "Yusuf", "Zoë",
)  # fmt: skip

LAST_NAMES = (
    "Almeida", "Berg", "Castellan", "Dubois", "Eriksen", "Fontaine", "Grady", "Haddad", "Ito",
    "Jansen", "Kowalski", "Lindqvist", "Moreau", "Nakamura", "O'Neill", "Petrova", "Quist",
    "Rossi", "Sato", "Tanaka", "Ueda", "Vargas", "Weiss", "Yilmaz",
)  # fmt: skip

# What people write, by the number of stars that they give.
REVIEWS = {
    5: (
        ("Could not be happier", "I use it every single day. My sister has ordered one as well."),
        ("Exactly right", "Well made, well packed, here in two days. What more is there to say?"),
        ("A small joy", "It is hard to explain, but it makes the mornings better."),
        ("Worth every cent", "I hesitated at the price. I should not have."),
    ),
    4: (
        ("Very good", "Does what it should. I would have liked it in one more colour."),
        ("Nearly perfect", "Lovely thing, though the box had seen better days."),
        ("Would buy again", "Solid and simple. Slightly larger than I had pictured it."),
    ),
    3: (
        ("It is all right", "Neither good nor bad. It works."),
        ("Mixed feelings", "I like the look more than the handling."),
    ),
    2: (
        ("Expected more", "For this price I had hoped for something sturdier."),
        ("Not for me", "Sent it back. The people at the desk were kind about it."),
    ),
    1: (
        ("Broke in a week", "A replacement is on its way, which is the least."),
        ("No", "Just no."),
    ),
}

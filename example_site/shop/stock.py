"""What stands on the shelves of Linden & Salt, and what is written in its notices."""

from __future__ import annotations

HOME = {
    "claim": "For slow breakfasts",
    "intro": (
        "Crockery that likes to be held, honey from the heath, linen that gets better with every "
        "wash. Nine things, chosen with care in Stralsund."
    ),
}

SHELVES = [
    {
        "slug": "crockery",
        "title": "Crockery",
        "intro": (
            "Thrown, glazed and fired in small batches. No two pieces are quite alike, and all "
            "of them may go into the dishwasher."
        ),
        "products": [
            {
                "slug": "mueritz-breakfast-bowl",
                "sku": "LS-101",
                "title": "Müritz Breakfast Bowl",
                "price": "24.00",
                "lead": "A deep bowl in the blue of the lake, for porridge and big soups.",
                "description": (
                    "The glaze is mixed after the colour of the Müritz on a clear morning in May. "
                    "Wide enough for muesli with far too much fruit, and heavy enough to stay "
                    "where you put it.\n\n"
                    "Stoneware from a workshop of two in Waren. The foot is left unglazed, so you "
                    "can feel the clay."
                ),
                "facts": "Volume: 650 ml\nWidth: 16 cm\nMaterial: Stoneware\nCare: Dishwasher",
                "picture": "mueritz-bowl",
                "picture_text": "A blue bowl of porridge with blueberries and a wooden spoon.",
            },
            {
                "slug": "harbour-mug",
                "sku": "LS-102",
                "title": "Harbour Mug",
                "price": "16.50",
                "lead": "Enamel, a little boat, and a rim that survives every drop.",
                "description": (
                    "Steel with two coats of enamel, printed with the boat that our neighbour "
                    "never finished building. Light enough for the rucksack, and at home on any "
                    "camping stove.\n\nIt may chip one day. It will still be your favourite."
                ),
                "facts": "Volume: 350 ml\nMaterial: Enamelled steel\nCare: Dishwasher, no microwave",
                "picture": "harbour-mug",
                "picture_text": "A white enamel mug with a sailing boat on it, full of coffee.",
            },
            {
                "slug": "linden-teapot",
                "sku": "LS-103",
                "title": "Linden Teapot",
                "price": "58.00",
                "lead": "Round, green and drip-free: one litre for two patient people.",
                "description": (
                    "The spout was redrawn eleven times before it stopped dripping. The sieve "
                    "inside is fired in one piece with the pot, so there is nothing to lose.\n\n"
                    "The lid stays on, however far you tilt it."
                ),
                "facts": "Volume: 1 l\nMaterial: Stoneware\nCare: By hand, without soap",
                "picture": "linden-teapot",
                "picture_text": "A round green teapot with a linden leaf, a small cup beside it.",
            },
        ],
    },
    {
        "slug": "pantry",
        "title": "Pantry & Jars",
        "intro": "Things that belong on bread, in the pot or straight into the mouth.",
        "products": [
            {
                "slug": "tea-and-biscuits",
                "sku": "LS-201",
                "title": 'Tea & Biscuits </script> "Set"',
                "price": "19.90",
                "lead": "Black tea in a tin, butter biscuits in a pile, a typing error in the name.",
                "description": (
                    "Yes, it is really called that. A line of mark-up slipped on to the first "
                    "labels, our customers fell in love with it, and now nobody lets us correct "
                    "it.\n\nInside: 125 g of East Frisian blend and twelve biscuits made with so "
                    "much butter that they had to be cut by hand."
                ),
                "facts": "Tea: 125 g, loose\nBiscuits: 12, about 180 g\nContains: Wheat, milk",
                "picture": "tea-and-biscuits",
                "picture_text": "A red tea tin beside a stack of square butter biscuits.",
            },
            {
                "slug": "lueneburg-heath-honey",
                "sku": "LS-202",
                "title": "Lüneburg Heath Honey",
                "price": "11.80",
                "lead": "Dark, tart, almost like jelly: from the heather in late August.",
                "description": (
                    "The bees travel to the heath by van for six weeks, and come back with this. "
                    "It is so thick that it has to be pressed out of the comb.\n\n"
                    "Good on buttered bread, best with an old cheese."
                ),
                "facts": "Weight: 500 g\nOrigin: Undeloh, Germany\nKeeps: For years",
                "picture": "heath-honey",
                "picture_text": "A jar of amber honey between sprigs of heather, and a bee.",
            },
            {
                "slug": "smoked-sea-salt",
                "sku": "LS-203",
                "title": "Smoked Sea Salt",
                "price": "8.40",
                "lead": "Coarse flakes, two days over beech smoke. A pinch is plenty.",
                "description": (
                    "Boiled down from the North Sea, dried, and hung over a fire of beech for two "
                    "days. It turns a boiled egg into an occasion.\n\nThe jar closes with a cork, "
                    "so the kitchen smells of holidays at the sea."
                ),
                "facts": "Weight: 160 g\nMade in: Husum, Germany",
                "picture": "smoked-salt",
                "picture_text": "A corked glass jar of grey salt, a small wooden scoop beside it.",
            },
        ],
    },
    {
        "slug": "linen-and-light",
        "title": "Linen & Light",
        "intro": "For the evening: something soft, something warm, something that glows.",
        "products": [
            {
                "slug": "linen-tea-towels",
                "sku": "LS-301",
                "title": "Two Linen Tea Towels",
                "price": "27.00",
                "lead": "One striped, one checked. They dry glasses without a trace.",
                "description": (
                    "Woven from Belgian flax in a mill that has stood by the same brook since "
                    "1884. Stiff on the first day, wonderful after the tenth wash.\n\nWith a loop "
                    "that does not tear off."
                ),
                "facts": "Size: 50 by 70 cm each\nMaterial: Linen\nCare: 60 °C",
                "picture": "linen-towels",
                "picture_text": "Two towels on a rail, one with red stripes, one with blue checks.",
            },
            {
                "slug": "beeswax-candle",
                "sku": "LS-302",
                "title": "Beeswax Candle",
                "price": "14.20",
                "lead": "Poured by the beekeeper of our honey. Burns for forty hours.",
                "description": (
                    "Nothing in it but wax and a cotton wick. It smells of honey before you light "
                    "it and of nothing at all afterwards, which is how it should be.\n\n"
                    "The brass holder is ours and not part of the set. Sorry."
                ),
                "facts": "Height: 15 cm\nBurns: About 40 hours\nMaterial: Beeswax",
                "picture": "beeswax-candle",
                "picture_text": "A burning candle in a brass holder, a night window behind it.",
            },
            {
                "slug": "nordlicht-blanket",
                "sku": "LS-303",
                "title": "Nordlicht Wool Blanket",
                "price": "139.00",
                "lead": "Midnight blue with a streak of northern lights, big enough for two.",
                "description": (
                    "Virgin wool from flocks on the dikes, spun and woven within a day's walk. "
                    "Warm without weight, and it does not mind the dog.\n\nThe fringe is knotted "
                    "by hand on winter evenings."
                ),
                "facts": "Size: 140 by 200 cm\nMaterial: Virgin wool\nCare: Air it",
                "picture": "nordlicht-blanket",
                "picture_text": "A folded dark blue blanket with green and violet bands on a bench.",
            },
        ],
    },
]

CONTACT = {
    "title": "Contact",
    "intro": "Questions about the glaze, the wool or the whereabouts of a parcel? We read all of it.",
    "thanks": "Your message is with us. You hear from us tomorrow at the latest.",
    "from_address": "shop@linden-and-salt.example",
    "to_address": "hello@linden-and-salt.example",
    "subject": "A message from the shop",
}

CONTACT_FIELDS = [
    {"label": "Name", "field_type": "singleline", "required": True},
    {"label": "E-mail", "field_type": "email", "required": True},
    {"label": "Message", "field_type": "multiline", "required": True},
]

NOTICES = [
    {
        "slug": "delivery",
        "title": "Delivery",
        "body": (
            "<p>We deliver within the European Union. A parcel costs €4.90; from €60 on it is "
            "free.</p><p>Most of them are on their way on the same day and arrive two or three "
            "days later. What you do not like, you can send back within 30 days.</p>"
        ),
    },
    {
        "slug": "privacy",
        "title": "Privacy",
        "body": (
            "<h2>What the shop needs</h2><p>A cookie that remembers your cart, and what you type "
            "into our forms, to deliver your order and to answer you.</p>"
            "<h2>What we ask you for</h2><p>If you accept, we tell Meta Platforms which pages you "
            "look at, what you put into the cart and what you buy, together with the identifiers "
            "of your browser. Of an order or a message we add e-mail address, phone number, name "
            "and town as checksums (SHA-256), which Meta compares with its own users. We learn "
            "from it which of our advertisements work.</p>"
            "<p>Without your yes, none of this happens: no script of Meta is loaded and nothing is "
            "kept. If your browser sends Global Privacy Control, we take it as a no.</p>"
            "<h2>Changing your mind</h2><p>At the foot of every page. What still waits to be sent "
            "is not sent any more.</p>"
        ),
    },
]

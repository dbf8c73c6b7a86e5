"""The kinds of messages in the tiny world: support tickets, orders, invoices, bookings, repairs."""

from training.tiny.words import (
    CITIES,
    ISSUES,
    PARTS,
    PRODUCTS,
    URGENCIES,
    Domain,
    Field,
    amount,
    asset,
    code,
    company,
    date,
    digits,
    joined,
    one_of,
    person,
)

TICKET = Domain(
    "ticket",
    {
        "customer": Field(person, ("customer", "client", "caller"), (
            "My name is {customer}.", "This is {customer}.", "Regards, {customer}", "{customer} here.",
            "Thanks, {customer}",
            "You can reach me as {customer}.", "Please call back {customer}.", "Reported by {customer}.",
            "I am {customer}.",
            "Caller: {customer}.",
        )),
        "asset": Field(asset, ("asset", "device", "unit"), (
            "It is about {asset}.", "The device is {asset}.", "Please look at {asset}.", "I use {asset} every day.",
            "The label says {asset}.", "We have trouble with {asset}.", "Device: {asset}.", "Our {asset} needs help.",
            "Something is wrong with {asset}.", "I am writing about {asset}.",
        )),
        "issue": Field(one_of(ISSUES), ("issue", "problem"), (
            "It {issue}.", "Since this morning it {issue}.", "The thing {issue}.", "Again it {issue}.",
            "For two days now it {issue}.",
            "After the update it {issue}.", "Sometimes it {issue}.", "I see that it {issue}.",
        )),
        "urgency": Field(one_of(URGENCIES), ("urgency", "priority"), (
            "This is {urgency}.", "For us it is {urgency}.", "I would call it {urgency}.", "Note: {urgency}.",
            "To be clear, {urgency}.",
            "How bad: {urgency}.", "My boss says {urgency}.", "It counts as {urgency}.",
        )),
        "site": Field(one_of(CITIES), ("site", "city", "office"), (
            "We are in {site}.", "I work in {site}.", "Our office is in {site}.", "Site: {site}.",
            "It stands in {site}.",
            "Greetings from {site}.", "The room is in {site}.",
        )),
        "ticket": Field(digits(1000, 99999), ("ticket", "case number", "case"), (
            "Ticket {ticket}.", "The case number is {ticket}.", "See also ticket {ticket}.",
            "Case {ticket} is still open.",
            "I already have ticket {ticket}.",
        )),
    },
    joined(
        "{customer} here, {asset} {issue}.", "Our {asset} {issue}.", "The {asset} in {site} {issue}.",
        "{asset} {issue}, {urgency}.",
        "I am {customer} from {site}.", "Hi, this is {customer} and {asset} {issue}.",
        "It {issue} and that is {urgency}.",
        "{customer} from {site} says that {asset} {issue}.", "In {site} our {asset} {issue}.",
        "My {asset} {issue}, which is {urgency}.",
        "Ticket {ticket}: {asset} {issue}.", "Hello, {customer} in {site}.",
    ),
    (
        "Hello.", "Hi team.", "Good morning.", "Please help.", "I tried to restart it.", "Can someone have a look?",
        "Thank you.",
        "Nothing else has changed.", "A colleague sees the same.", "I have no idea why.", "Let me know.",
        "Sorry to bother you.",
        "The manual did not help.", "We need an answer.", "It was fine last week.", "Dear support.",
    ),
)  # fmt: skip

ORDER = Domain(
    "order",
    {
        "customer": Field(person, ("customer", "client", "buyer"), (
            "The customer is {customer}.", "Ordered by {customer}.", "{customer} placed the order.",
            "Buyer: {customer}.",
            "It is for {customer}.", "{customer} wrote to us.",
        )),
        "order": Field(digits(10000, 999999), ("order", "order number", "reference"), (
            "Order {order}.", "The order number is {order}.", "Reference {order}.", "Please use number {order}.",
            "Order no. {order} came in.",
        )),
        "product": Field(one_of(PRODUCTS), ("product", "item", "goods"), (
            "They want {product}.", "Item: {product}.", "The goods are {product}.", "It is an order for {product}.",
            "Please pack {product}.",
        )),
        "quantity": Field(digits(2, 400), ("quantity", "count"), (
            "Quantity {quantity}.", "They need {quantity} pieces.", "Count: {quantity}.", "{quantity} units in all.",
        ), number=True),
        "total": Field(amount, ("total", "price", "amount"), (
            "The total is {total} EUR.", "Price {total} EUR.", "They pay {total} EUR.", "It comes to {total} EUR.",
        )),
        "delivery": Field(date, ("delivery", "delivery date"), (
            "Deliver on {delivery}.", "Delivery date {delivery}.", "It must arrive on {delivery}.",
            "They expect it on {delivery}.",
        )),
        "city": Field(one_of(CITIES), ("city", "place"), (
            "Send it to {city}.", "The address is in {city}.", "Ship to {city}.", "They live in {city}.",
        )),
    },
    joined(
        "{customer} ordered {quantity} {product}.", "{customer} from {city} wants {product}.",
        "Order {order} by {customer}.",
        "{quantity} {product} for {total} EUR.", "Order {order}: {quantity} {product}.",
        "Ship {product} to {city} on {delivery}.",
        "Order {order} costs {total} EUR.",
    ),
    ("Please confirm.", "New order.", "Pack with care.", "A gift note is inside.", "They bought before.", "Thank you.",
        "No rush.", "Hello."),
)  # fmt: skip

INVOICE = Domain(
    "invoice",
    {
        "company": Field(company, ("company", "supplier", "sender"), (
            "From {company}.", "The supplier is {company}.", "{company} sent an invoice.", "Billed by {company}.",
            "Sender: {company}.",
        )),
        "invoice": Field(code("INV-", 100, 99999), ("invoice", "invoice number", "document"), (
            "Invoice {invoice}.", "The number is {invoice}.", "See document {invoice}.", "Please book {invoice}.",
        )),
        "amount": Field(amount, ("amount", "sum", "total"), (
            "Amount {amount} EUR.", "We owe {amount} EUR.", "Please pay {amount} EUR.", "The sum is {amount} EUR.",
        )),
        "due": Field(date, ("due", "due date", "deadline"), (
            "Due on {due}.", "Pay before {due}.", "The deadline is {due}.", "Payable until {due}.",
        )),
        "issued": Field(date, ("issued", "issue date"), (
            "Issued on {issued}.", "It was written on {issued}.", "Dated {issued}.",
        )),
        "account": Field(digits(100000, 9999999), ("account", "account number"), (
            "Account {account}.", "Send the money to account {account}.", "The account number is {account}.",
        )),
    },
    joined(
        "{company} bills {amount} EUR.", "Invoice {invoice} from {company}.",
        "{invoice} over {amount} EUR is due on {due}.",
        "Issued on {issued}, due on {due}.", "Pay {amount} EUR to account {account}.",
        "{company} wants its money until {due}.",
    ),
    ("A reminder follows.", "Please check.", "Second notice.", "No discount.", "Thank you for your trust.",
        "Tax is included.", "Hello."),
)  # fmt: skip

BOOKING = Domain(
    "booking",
    {
        "guest": Field(person, ("guest", "name", "visitor"), (
            "The guest is {guest}.", "Booked for {guest}.", "{guest} would like to stay.", "Guest: {guest}.",
            "In the name of {guest}.",
        )),
        "booking": Field(code("BK", 1000, 99999), ("booking", "booking code", "code"), (
            "Booking {booking}.", "The code is {booking}.", "Your booking code: {booking}.",
        )),
        "city": Field(one_of(CITIES), ("city", "place", "town"), (
            "A room in {city}.", "The hotel is in {city}.", "They travel to {city}.", "Place: {city}.",
        )),
        "arrival": Field(date, ("arrival", "arrival date", "check-in"), (
            "Arrival on {arrival}.", "They come on {arrival}.", "Check-in {arrival}.",
        )),
        "nights": Field(digits(1, 21), ("nights", "stay"), (
            "For {nights} nights.", "They stay {nights} nights.", "Nights: {nights}.",
        ), number=True),
        "room": Field(digits(100, 999), ("room", "room number"), (
            "Room {room}.", "We gave them room {room}.", "The room number is {room}.",
        )),
    },
    joined(
        "{guest} stays {nights} nights in {city}.", "{guest} arrives on {arrival}.", "Booking {booking} for {guest}.",
        "Room {room} from {arrival} for {nights} nights.", "{guest} has room {room}.", "Booking {booking} in {city}.",
    ),
    ("With breakfast.", "Quiet side please.", "Late arrival.", "They bring a dog.", "Already paid.", "Thank you.",
        "See you soon."),
)  # fmt: skip

REPAIR = Domain(
    "repair",
    {
        "technician": Field(person, ("technician", "worker", "engineer"), (
            "Done by {technician}.", "Technician {technician}.", "{technician} did the work.",
            "{technician} was on site.",
        )),
        "machine": Field(code("M-", 10, 9999), ("machine", "machine number", "unit"), (
            "Machine {machine}.", "Work on {machine}.", "{machine} was stopped.", "The log is for {machine}.",
        )),
        "part": Field(one_of(PARTS), ("part", "component"), (
            "The {part} was worn.", "We changed the {part}.", "New {part} installed.", "Part: {part}.",
        )),
        "hours": Field(digits(1, 48), ("hours", "time"), (
            "It took {hours} hours.", "{hours} hours of work.", "Hours: {hours}.",
        ), number=True),
        "day": Field(date, ("day", "date"), (
            "On {day}.", "Date: {day}.", "The work was done on {day}.",
        )),
        "site": Field(one_of(CITIES), ("site", "plant", "city"), (
            "At the plant in {site}.", "Site {site}.", "Location: {site}.",
        )),
    },
    joined(
        "{technician} changed the {part} of {machine}.", "{machine} in {site} got a new {part}.",
        "{technician} worked {hours} hours on {day}.",
        "On {day} {technician} stopped {machine}.", "The {part} took {hours} hours.",
    ),
    ("Test run was fine.", "Oil checked.", "No leaks.", "Next check in spring.", "All safe.", "Cleaned the area."),
)  # fmt: skip

DOMAINS = (TICKET, ORDER, INVOICE, BOOKING, REPAIR)

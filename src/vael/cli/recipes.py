"""vael recipes: the ready recipes there are."""

from vael.cli.options import Json


def recipes(*, json: Json = False) -> None:
    """List the ready recipes: published experiments with the figures to expect.

    Run one with `vael reproduce NAME`, or start from one with `vael fit --recipe NAME`.
    Example: vael recipes
    """
    from dataclasses import asdict

    from vael.cli.show import say, say_json
    from vael.runs import ready

    found = [ready.read(name) for name in ready.names()]
    for recipe in found:
        about = recipe.about
        source = ", ".join(
            text for text in (about.paper, f"arXiv {about.arxiv}" if about.arxiv else "", str(about.year or "")) if text
        )
        arms = recipe.chosen({}).arms
        runs = f"{len(arms)} runs, " if len(arms) > 1 else ""
        say(recipe.name)
        say(f"  {about.title}")
        say(f"  {source}")
        say(f"  data {recipe.fit['data']}; {runs}about {about.minutes:g} minutes" if about.minutes else "")
        for option, table in recipe.options.items():
            values = ", ".join(value for value in table if value != "default")
            say(f"  --{option} {values}; {table['default']} when left out")
    if json:
        say_json({"recipes": [{"name": recipe.name, **asdict(recipe.about)} for recipe in found]})

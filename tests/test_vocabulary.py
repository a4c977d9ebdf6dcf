"""The package's own words: each is where it says, and none waits for torch before it is asked for."""

import subprocess
import sys

import pytest

import vael


@pytest.mark.parametrize("word", vael.__all__)
def test_every_word_is_there(word):
    found = getattr(vael, word)
    assert word == "__version__" or found.__name__ == word


def test_every_word_has_one_home():
    homes = [word for words in vael.HOMES.values() for word in words]
    assert sorted([*homes, "__version__"]) == sorted(vael.__all__)
    assert set(vael.__all__) <= set(dir(vael))


def test_rooms_are_found_by_their_names_and_nothing_else_is():
    assert vael.likelihoods.Gaussian.__name__ == "Gaussian"
    with pytest.raises(AttributeError, match="module 'vael' has no attribute 'liklihoods'"):
        _ = vael.liklihoods


def test_importing_the_package_alone_is_cheap():
    program = "import sys, vael; assert 'torch' not in sys.modules; vael.ELBO; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)

"""The words of the review page in English, Spanish and Portuguese."""

from __future__ import annotations

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "title": "Twins", "ask": "Are these the same photo?", "first": "First picture", "second": "Second picture",
        "same": "Same photo", "different": "Different", "merge": "Merge", "separate": "Separate",
        "keep_apart": "Keep apart", "keep_together": "Keep together", "now_apart": "They are apart now.",
        "now_together": "They are in one cluster now.", "mirrored": "The second one is shown in a mirror, as it fits.",
        "trimmed": "They are alike without their borders.", "conflict": "They carry different labels.",
        "listings": "listings", "listing": "listing", "label": "label", "back": "Back", "next": "Next", "skip": "Skip",
        "undo": "Undo", "zoom": "Zoom", "blink": "Blink", "help": "Help", "close": "Close", "keys": "Keys",
        "open": "To decide", "joined": "Joined", "of": "of", "decided": "decided", "was": "Decided",
        "written_same": "Written: the same photo.", "written_different": "Written: different.", "taken": "Taken back.",
        "all_done": "Nothing is left to decide", "none": "There is nothing to decide",
        "then": "Every decision is written. What comes next:", "look_joined": "Look through what was joined",
        "broken": "The picture cannot be shown.",
        "rule": "Same: one photo was made from the other – resized, cropped, mirrored, with a border or a watermark. "
        "Different: two photos, even of one garment; or another color of it.",
        "k_merge": "the same photo: one cluster, one question, one side of the split",
        "k_separate": "different: never in one cluster", "k_keep": "as it is now", "k_blink": "shows one in the other's place",
        "k_zoom": "larger", "k_skip": "next pair without a decision", "k_back": "the pair before", "k_undo": "takes the last decision back",
        "failed": "That was not done",
        "r_one is gray": "One has colors, the other is gray.", "r_colors differ": "Their colors differ.",
        "r_vectors differ": "A model sees different things in them.", "r_finer hash differs": "A finer look says they differ.",
        "r_details differ": "Their fine details do not fit.",
    },
    "es": {
        "title": "Gemelas", "ask": "¿Son la misma foto?", "first": "Primera imagen", "second": "Segunda imagen",
        "same": "La misma foto", "different": "Diferentes", "merge": "Unir", "separate": "Separar",
        "keep_apart": "Dejar separadas", "keep_together": "Dejar juntas", "now_apart": "Ahora están separadas.",
        "now_together": "Ahora están en un mismo grupo.", "mirrored": "La segunda se muestra en espejo, como encaja.",
        "trimmed": "Se parecen sin sus bordes.", "conflict": "Llevan etiquetas diferentes.",
        "listings": "anuncios", "listing": "anuncio", "label": "etiqueta", "back": "Atrás", "next": "Siguiente", "skip": "Saltar",
        "undo": "Deshacer", "zoom": "Ampliar", "blink": "Alternar", "help": "Ayuda", "close": "Cerrar", "keys": "Teclas",
        "open": "Por decidir", "joined": "Unidas", "of": "de", "decided": "decididas", "was": "Decidido",
        "written_same": "Guardado: la misma foto.", "written_different": "Guardado: diferentes.", "taken": "Deshecho.",
        "all_done": "No queda nada por decidir", "none": "No hay nada que decidir",
        "then": "Todas las decisiones están guardadas. Lo que sigue:", "look_joined": "Revisar lo que se unió",
        "broken": "No se puede mostrar la imagen.",
        "rule": "La misma: una foto se hizo a partir de la otra: otro tamaño, recorte, espejo, borde o marca de agua. "
        "Diferentes: dos fotos, aunque sean de una misma prenda; o de otro color.",
        "k_merge": "la misma foto: un grupo, una pregunta, un lado de la división",
        "k_separate": "diferentes: nunca en un mismo grupo", "k_keep": "como está ahora", "k_blink": "muestra una en el lugar de la otra",
        "k_zoom": "más grande", "k_skip": "siguiente par sin decisión", "k_back": "el par anterior", "k_undo": "deshace la última decisión",
        "failed": "No se hizo",
        "r_one is gray": "Una tiene color, la otra es gris.", "r_colors differ": "Sus colores difieren.",
        "r_vectors differ": "Un modelo ve cosas diferentes en ellas.", "r_finer hash differs": "Una mirada más fina dice que difieren.",
        "r_details differ": "Sus detalles finos no encajan.",
    },
    "pt": {
        "title": "Gêmeas", "ask": "São a mesma foto?", "first": "Primeira imagem", "second": "Segunda imagem",
        "same": "A mesma foto", "different": "Diferentes", "merge": "Unir", "separate": "Separar",
        "keep_apart": "Manter separadas", "keep_together": "Manter juntas", "now_apart": "Agora estão separadas.",
        "now_together": "Agora estão no mesmo grupo.", "mirrored": "A segunda é mostrada espelhada, como encaixa.",
        "trimmed": "São parecidas sem as bordas.", "conflict": "Têm rótulos diferentes.",
        "listings": "anúncios", "listing": "anúncio", "label": "rótulo", "back": "Voltar", "next": "Próximo", "skip": "Pular",
        "undo": "Desfazer", "zoom": "Ampliar", "blink": "Alternar", "help": "Ajuda", "close": "Fechar", "keys": "Teclas",
        "open": "A decidir", "joined": "Unidas", "of": "de", "decided": "decididas", "was": "Decidido",
        "written_same": "Gravado: a mesma foto.", "written_different": "Gravado: diferentes.", "taken": "Desfeito.",
        "all_done": "Não resta nada a decidir", "none": "Não há nada a decidir",
        "then": "Todas as decisões estão gravadas. O que vem agora:", "look_joined": "Rever o que foi unido",
        "broken": "A imagem não pode ser mostrada.",
        "rule": "A mesma: uma foto foi feita a partir da outra: outro tamanho, corte, espelho, borda ou marca d'água. "
        "Diferentes: duas fotos, mesmo de uma só peça; ou de outra cor.",
        "k_merge": "a mesma foto: um grupo, uma pergunta, um lado da divisão",
        "k_separate": "diferentes: nunca no mesmo grupo", "k_keep": "como está agora", "k_blink": "mostra uma no lugar da outra",
        "k_zoom": "maior", "k_skip": "próximo par sem decisão", "k_back": "o par anterior", "k_undo": "desfaz a última decisão",
        "failed": "Isso não foi feito",
        "r_one is gray": "Uma tem cor, a outra é cinza.", "r_colors differ": "As cores diferem.",
        "r_vectors differ": "Um modelo vê coisas diferentes nelas.", "r_finer hash differs": "Um olhar mais fino diz que diferem.",
        "r_details differ": "Os detalhes finos não encaixam.",
    },
}  # fmt: skip


def choose(asked: str | None, accepted: str) -> str:
    """The language to show: the one asked for, else the first of an Accept-Language header that there is, else English."""
    wanted = [asked or "", *(part.split(";")[0].strip() for part in accepted.split(","))]
    return next((tag.split("-")[0].lower() for tag in wanted if tag.split("-")[0].lower() in TEXTS), "en")

"""The words of the worker pages, in English, Spanish and Portuguese."""

from __future__ import annotations

from collections.abc import Mapping

from curate.crowd.server.errors import WorkerError

LANGUAGES = {"en": "English", "es": "Español", "pt": "Português"}

_TEXTS: Mapping[str, tuple[str, str, str]] = {
    # key: (en, es, pt)
    "join_title": ("Label pictures with us", "Etiquete fotos con nosotros", "Rotule fotos conosco"),
    "join_intro": (
        "You look at product photos and say what they show. A short test lets you in, then you work by keyboard, mouse or phone.",
        "Usted mira fotos de productos y dice qué muestran. Una prueba corta le abre la puerta; después trabaja con teclado, ratón o teléfono.",
        "Você olha fotos de produtos e diz o que elas mostram. Um teste curto abre a porta; depois você trabalha com teclado, mouse ou celular.",
    ),
    "your_name": ("Your name", "Su nombre", "Seu nome"),
    "name_note": (
        "Only the people who run this server see it. Answers carry a random number instead.",
        "Solo lo ven quienes administran este servidor. Las respuestas llevan un número al azar.",
        "Só quem administra este servidor o vê. As respostas levam um número aleatório.",
    ),
    "join": ("Start", "Empezar", "Começar"),
    "joined_already": ("You are signed in as", "Ha entrado como", "Você entrou como"),
    "to_work": ("Go to the work", "Ir al trabajo", "Ir ao trabalho"),
    "closed": (
        "Sign-up is closed. Ask the people who run this server for an invitation.",
        "La inscripción está cerrada. Pida una invitación a quienes administran este servidor.",
        "A inscrição está fechada. Peça um convite a quem administra este servidor.",
    ),
    "invited_title": ("You are invited", "Le han invitado", "Você foi convidado"),
    "back_title": ("Welcome back", "Bienvenido de nuevo", "Bem-vindo de volta"),
    "back_intro": (
        "This link signs this browser in as you: your test and your record are where you left them. It works once.",
        "Este enlace abre su cuenta en este navegador: su prueba y su historial siguen ahí. Sirve una sola vez.",
        "Este link abre sua conta neste navegador: seu teste e seu histórico continuam lá. Ele serve uma única vez.",
    ),
    "back_button": ("Go on", "Continuar", "Continuar"),
    "bad_invitation": (
        "This link is not valid any more. Ask whoever sent it for a new one.",
        "Este enlace ya no es válido. Pida otro a quien se lo envió.",
        "Este link não é mais válido. Peça outro a quem o enviou.",
    ),
    "your_email": ("Your e-mail", "Su correo electrónico", "Seu e-mail"),
    "email_note": (
        "We send a code there. Came before? The same address leads back to your work.",
        "Allí enviamos un código. ¿Ya estuvo aquí? La misma dirección le devuelve a su trabajo.",
        "Enviamos um código para lá. Já esteve aqui? O mesmo endereço leva de volta ao seu trabalho.",
    ),
    "send_code": ("Send me a code", "Enviarme un código", "Enviar um código"),
    "code_title": ("Type the code", "Escriba el código", "Digite o código"),
    "code_sent": ("We sent a code to", "Enviamos un código a", "Enviamos um código para"),
    "code_intro": ("It is in the mail that we sent you.", "Está en el correo que le enviamos.", "Está no e-mail que enviamos."),
    "code": ("Code", "Código", "Código"),
    "code_note": ("Good for 30 minutes, once.", "Vale 30 minutos y una sola vez.", "Vale por 30 minutos, uma única vez."),
    "code_button": ("Go in", "Entrar", "Entrar"),
    "code_again": ("No mail? Ask for a new code", "¿No llegó? Pedir otro código", "Não chegou? Pedir outro código"),
    "mail_subject": ("Your code", "Su código", "Seu código"),
    "mail_body": (
        "Your code is {code}\n\nType it on the page that asked for it, or here:\n{url}\n\nIt is good for 30 minutes, once. If you did not ask for it, do nothing.",
        "Su código es {code}\n\nEscríbalo en la página que lo pidió, o aquí:\n{url}\n\nVale 30 minutos y una sola vez. Si no lo pidió, no haga nada.",
        "Seu código é {code}\n\nDigite-o na página que o pediu, ou aqui:\n{url}\n\nVale por 30 minutos, uma única vez. Se não o pediu, não faça nada.",
    ),
    "mail_failed": (
        "The mail could not be sent. Please try again later.",
        "No se pudo enviar el correo. Inténtelo más tarde.",
        "Não foi possível enviar o e-mail. Tente mais tarde.",
    ),
    "bad_email": ("That is no e-mail address.", "Eso no es una dirección de correo.", "Isso não é um endereço de e-mail."),
    "bad_code": (
        "That code is wrong, used or too old. After five wrong ones a new code is needed.",
        "Ese código es incorrecto, ya se usó o caducó. Tras cinco errores hace falta uno nuevo.",
        "Esse código está errado, já foi usado ou expirou. Após cinco erros é preciso um novo.",
    ),
    "too_many_mails": (
        "Too many codes were asked for. Try again in an hour.",
        "Se pidieron demasiados códigos. Inténtelo dentro de una hora.",
        "Foram pedidos códigos demais. Tente de novo em uma hora.",
    ),
    "arrive_note": (
        "We take over your participant number from the panel, nothing else; your answers carry a random number instead.",
        "Del panel solo recibimos su número de participante; sus respuestas llevan un número al azar.",
        "Do painel recebemos só o seu número de participante; suas respostas levam um número aleatório.",
    ),
    "no_panel": ("There is no such study here.", "Aquí no existe ese estudio.", "Esse estudo não existe aqui."),
    "bad_arrival": (
        "The address lacks your participant number. Open the study from the panel's page again.",
        "La dirección no trae su número de participante. Abra de nuevo el estudio desde la página del panel.",
        "O endereço não traz seu número de participante. Abra o estudo de novo pela página do painel.",
    ),
    "arrived_otherwise": (
        "You have an account here. Come in by your e-mail or your invitation instead.",
        "Usted ya tiene una cuenta aquí. Entre con su correo o su invitación.",
        "Você já tem uma conta aqui. Entre pelo seu e-mail ou convite.",
    ),
    "finish": ("Finish", "Terminar", "Terminar"),
    "done_title": ("You are done", "Ha terminado", "Você terminou"),
    "done_text": (
        "Thank you. Your answers are saved; tell the panel with this code.",
        "Gracias. Sus respuestas están guardadas; avise al panel con este código.",
        "Obrigado. Suas respostas foram salvas; avise o painel com este código.",
    ),
    "completion_code": ("Completion code", "Código de finalización", "Código de conclusão"),
    "done_button": ("Back to the panel", "Volver al panel", "Voltar ao painel"),
    "not_done_title": ("Not quite yet", "Todavía no", "Ainda não"),
    "not_done_text": (
        "The code comes when you have sent enough.",
        "El código aparece cuando haya enviado suficientes tareas.",
        "O código aparece quando você tiver enviado tarefas suficientes.",
    ),
    "consent_title": ("Before you begin", "Antes de empezar", "Antes de começar"),
    "consent_version": ("Version", "Versión", "Versão"),
    "consent_yes": ("I agree", "Acepto", "Concordo"),
    "consent_no": ("I do not agree", "No acepto", "Não concordo"),
    "consent_given": ("You have agreed to this.", "Usted lo ha aceptado.", "Você concordou com isto."),
    "consent_needed": (
        "Please read and accept the consent text first.",
        "Primero lea y acepte el consentimiento.",
        "Primeiro leia e aceite o termo de consentimento.",
    ),
    "consent_changed": (
        "The text has changed since you opened the page. Please read it again.",
        "El texto cambió desde que abrió la página. Léalo de nuevo.",
        "O texto mudou desde que você abriu a página. Leia-o de novo.",
    ),
    "work": ("Work", "Trabajo", "Trabalho"),
    "hello": ("Hello", "Hola", "Olá"),
    "leave": ("Sign out", "Salir", "Sair"),
    "leave_note": (
        "This server knows you by this browser alone: after signing out you start anew, without your test and your record.",
        "Este servidor le conoce solo por este navegador: si sale, empezará de nuevo, sin su prueba ni su historial.",
        "Este servidor conhece você só por este navegador: se sair, recomeçará do zero, sem seu teste nem seu histórico.",
    ),
    "leave_note_email": (
        "Your test and your record stay: you can come back with a code sent to your e-mail address.",
        "Su prueba y su historial se conservan: podrá volver con un código enviado a su correo.",
        "Seu teste e seu histórico ficam guardados: você pode voltar com um código enviado ao seu e-mail.",
    ),
    "leave_note_panel": (
        "Your test and your record stay: you can come back by the link of the study.",
        "Su prueba y su historial se conservan: podrá volver por el enlace del estudio.",
        "Seu teste e seu histórico ficam guardados: você pode voltar pelo link do estudo.",
    ),
    "leave_note_invitation": (
        "Your test and your record stay, but this browser forgets you: to come back, ask whoever runs this server for a new link.",
        "Su prueba y su historial se conservan, pero este navegador le olvidará: para volver, pida un enlace nuevo a quien lleva este servidor.",
        "Seu teste e seu histórico ficam guardados, mas este navegador esquecerá você: para voltar, peça um novo link a quem cuida deste servidor.",
    ),
    "no_groups": (
        "There is no work for you right now. Come back later, or reload the page.",
        "Ahora no hay trabajo para usted. Vuelva más tarde o recargue la página.",
        "Agora não há trabalho para você. Volte mais tarde ou recarregue a página.",
    ),
    "rejected_title": ("Not accepted, and why", "No aceptadas, y por qué", "Não aceitas, e por quê"),
    "no_reason": ("No reason was given.", "No se dio ninguna razón.", "Nenhum motivo foi dado."),
    "hits_left": ("left for you", "quedan para usted", "restam para você"),
    "for_each": ("each", "cada una", "cada uma"),
    "minutes": ("min at most", "min como máximo", "min no máximo"),
    "start": ("Start labeling", "Empezar a etiquetar", "Começar a rotular"),
    "go_on": ("Go on where you were", "Seguir donde estaba", "Continuar de onde parou"),
    "take_test": ("Take the test first", "Haga primero la prueba", "Faça primeiro o teste"),
    "take_again": ("Take the test again", "Repetir la prueba", "Refazer o teste"),
    "state_passed": ("passed", "superada", "aprovado"),
    "state_failed": ("not passed", "no superada", "não aprovado"),
    "state_needed": ("test needed", "falta la prueba", "falta o teste"),
    "state_pending": ("being judged", "en revisión", "em avaliação"),
    "state_missing": ("not granted", "no concedida", "não concedida"),
    "score": ("Score", "Puntuación", "Pontuação"),
    "pass_mark": ("pass mark", "mínimo", "mínimo"),
    "again_at": ("You can try again from", "Puede repetirla desde", "Pode tentar de novo a partir de"),
    "sent": ("sent", "enviadas", "enviadas"),
    "approved": ("approved", "aprobadas", "aprovadas"),
    "earned": ("earned", "ganado", "ganho"),
    "thanks": ("Thank you. Your answers are saved.", "Gracias. Sus respuestas están guardadas.", "Obrigado. Suas respostas foram salvas."),
    "test": ("Test", "Prueba", "Teste"),
    "test_note": (
        "Every question counts. You see your score at the end.",
        "Todas las preguntas cuentan. Al final verá su puntuación.",
        "Todas as perguntas contam. No final você vê sua pontuação.",
    ),
    "send_test": ("Send the test", "Enviar la prueba", "Enviar o teste"),
    "passed_title": ("You passed", "Prueba superada", "Você passou"),
    "failed_title": ("Not passed this time", "Esta vez no", "Desta vez não"),
    "pending_title": ("Your test is being judged", "Su prueba está en revisión", "Seu teste está em avaliação"),
    "passed_text": ("The work is open to you now.", "Ya puede trabajar.", "O trabalho está aberto para você."),
    "failed_text": (
        "The work needs a higher score.",
        "El trabajo requiere una puntuación más alta.",
        "O trabalho exige uma pontuação maior.",
    ),
    "back_to_work": ("Back to the work", "Volver al trabajo", "Voltar ao trabalho"),
    "picture": ("Picture", "Foto", "Foto"),
    "question": ("Question", "Pregunta", "Pergunta"),
    "of": ("of", "de", "de"),
    "cannot_see": ("I cannot see the picture", "No puedo ver la foto", "Não consigo ver a foto"),
    "submit": ("Send answers", "Enviar respuestas", "Enviar respostas"),
    "review": ("Look over your answers", "Revise sus respuestas", "Revise suas respostas"),
    "review_note": (
        "Choose a picture to change its answer.",
        "Elija una foto para cambiar su respuesta.",
        "Escolha uma foto para mudar a resposta.",
    ),
    "back": ("Back", "Atrás", "Voltar"),
    "next": ("Next", "Siguiente", "Próxima"),
    "help": ("Help", "Ayuda", "Ajuda"),
    "close": ("Close", "Cerrar", "Fechar"),
    "zoom": ("Zoom", "Ampliar", "Ampliar"),
    "give_back": ("Give back", "Devolver", "Devolver"),
    "time_left": ("left", "restantes", "restantes"),
    "no_picture": ("This picture did not load.", "Esta foto no se cargó.", "Esta foto não carregou."),
    "chosen": ("chosen", "elegido", "escolhido"),
    "unanswered": ("no answer yet", "sin respuesta", "sem resposta"),
    "keys_title": ("Keys", "Teclas", "Teclas"),
    "key_letter": (
        "the letter or digit beside an answer: choose it and go on",
        "la letra o cifra junto a una respuesta: elegirla y seguir",
        "a letra ou o dígito ao lado de uma resposta: escolher e seguir",
    ),
    "key_back": ("take the last answer back", "deshacer la última respuesta", "desfazer a última resposta"),
    "key_arrows": ("previous or next picture; zoomed: move about", "foto anterior o siguiente; ampliada: moverse", "foto anterior ou próxima; ampliada: mover-se"),
    "key_choices": ("move among the answers", "moverse entre las respuestas", "mover-se entre as respostas"),
    "key_space": ("look closer: once more and once more; held: as long as you hold it", "ver de cerca: otra vez y otra vez; mantenida: mientras la mantenga", "ver de perto: de novo e de novo; segurada: enquanto segurar"),
    "key_enter": ("confirm; on the last page: send", "confirmar; en la última página: enviar", "confirmar; na última página: enviar"),
    "key_help": ("this help", "esta ayuda", "esta ajuda"),
    "meanings": ("What the answers mean", "Qué significan las respuestas", "O que significam as respostas"),
    "confused_with": ("Often confused with", "Se confunde a menudo con", "Confunde-se muitas vezes com"),
    "saved": ("Saved", "Guardado", "Salvo"),
    "not_saved": ("Not saved yet", "Aún sin guardar", "Ainda não salvo"),
    "not_sent": (
        "The server cannot be reached. Your answers are kept here and will be sent as soon as it is back.",
        "No se puede llegar al servidor. Sus respuestas se guardan aquí y se enviarán en cuanto vuelva.",
        "O servidor não responde. Suas respostas ficam guardadas aqui e serão enviadas assim que ele voltar.",
    ),
    "five_minutes": ("Five minutes left.", "Quedan cinco minutos.", "Restam cinco minutos."),
    "one_minute": ("One minute left.", "Queda un minuto.", "Resta um minuto."),
    "answers_left": ("fitting", "coinciden", "combinam"),
    "find": ("Find", "Buscar", "Buscar"),
    "find_label": ("Find an answer", "Buscar una respuesta", "Buscar uma resposta"),
    "undo": ("Undo", "Deshacer", "Desfazer"),
    "load_again": ("Load it again", "Cargarla otra vez", "Carregar de novo"),
    "right": ("Right", "Correcto", "Certo"),
    "wrong": ("Not quite", "No exactamente", "Não exatamente"),
    "show_truth": ("Show the answer", "Mostrar la respuesta", "Mostrar a resposta"),
    "practice": ("Practice", "Practicar", "Praticar"),
    "practice_first": ("Practice first", "Practicar primero", "Praticar primeiro"),
    "practice_note": (
        "Practice: you see at once what is right. Nothing is scored, and you can repeat it.",
        "Práctica: verá enseguida qué es correcto. No se puntúa nada y puede repetirla.",
        "Prática: você vê na hora o que está certo. Nada é pontuado, e você pode repetir.",
    ),
    "practice_again": ("Practice again", "Practicar otra vez", "Praticar de novo"),
    "take_the_test": ("Take the test", "Hacer la prueba", "Fazer o teste"),
    "no_practice": ("There is no practice for this work.", "No hay práctica para este trabajo.", "Não há prática para este trabalho."),
    "settings": ("How you work", "Cómo trabaja", "Como você trabalha"),
    "set_advance": ("Go on by itself after an answer", "Seguir sin más después de responder", "Avançar sozinho depois de responder"),
    "set_keys": ("Letters, digits and / are keys", "Las letras, cifras y / son teclas", "Letras, dígitos e / são teclas"),
    "auto_accept": ("Take the next HIT by itself", "Tomar sola la próxima tarea", "Pegar sozinho a próxima tarefa"),
    "key_shift": ("what that answer means", "qué significa esa respuesta", "o que essa resposta significa"),
    "key_find": (
        "find an answer by its name; Enter takes the first, Esc closes",
        "buscar una respuesta por su nombre; Intro toma la primera, Esc cierra",
        "buscar uma resposta pelo nome; Enter escolhe a primeira, Esc fecha",
    ),
    "pictures_each": ("pictures in each", "fotos en cada una", "fotos em cada uma"),
    "an_hour": ("an hour at your pace", "por hora a su ritmo", "por hora no seu ritmo"),
    "waiting": ("waiting", "en espera", "em espera"),
    "rejected": ("rejected", "rechazadas", "rejeitadas"),
    "test_once": ("This test can be taken once.", "Esta prueba se hace una sola vez.", "Este teste só pode ser feito uma vez."),
    "again_now": ("You can try again now.", "Puede repetirla ahora.", "Você já pode tentar de novo."),
    "frame_title": ("The task of the requester", "La tarea del solicitante", "A tarefa do solicitante"),
    "error_title": ("That did not work", "Eso no funcionó", "Isso não funcionou"),
    "bad_name": ("Please give a name of 1 to 80 characters.", "Escriba un nombre de 1 a 80 caracteres.", "Escreva um nome de 1 a 80 caracteres."),
    "bad_answer": ("An answer is not one of the choices.", "Una respuesta no es una de las opciones.", "Uma resposta não é uma das opções."),
    "not_all": ("Please answer every question.", "Responda todas las preguntas.", "Responda todas as perguntas."),
    "no_fields": ("This page sent no answer at all.", "Esta página no envió ninguna respuesta.", "Esta página não enviou nenhuma resposta."),
    "too_few": ("Choose at least {n}.", "Elija al menos {n}.", "Escolha pelo menos {n}."),
    "too_many": ("Choose {n} at most.", "Elija {n} como máximo.", "Escolha {n} no máximo."),
    "other_empty": ("Please write your own answer.", "Escriba su propia respuesta.", "Escreva sua própria resposta."),
    "not_number": ("Please write a number, with digits.", "Escriba un número, con cifras.", "Escreva um número, com algarismos."),
    "too_small": ("The number must be at least {n}.", "El número debe ser al menos {n}.", "O número deve ser pelo menos {n}."),
    "too_big": ("The number must be {n} at most.", "El número debe ser {n} como máximo.", "O número deve ser {n} no máximo."),
    "too_short": ("Please write at least {n} characters.", "Escriba al menos {n} caracteres.", "Escreva pelo menos {n} caracteres."),
    "too_long": ("Please write {n} characters at most.", "Escriba {n} caracteres como máximo.", "Escreva {n} caracteres no máximo."),
    "bad_format": ("This answer does not have the form that was asked for.", "La respuesta no tiene la forma pedida.", "A resposta não tem a forma pedida."),
    "other_answer": ("Another answer", "Otra respuesta", "Outra resposta"),
    "choose_one": ("Choose …", "Elija …", "Escolha …"),
    "required": ("required", "obligatoria", "obrigatória"),
    "open_window": ("Open in a window of its own", "Abrir en otra ventana", "Abrir em outra janela"),
    "fix_answers": (
        "Nothing was sent yet: please look at the questions marked below.",
        "Aún no se envió nada: revise las preguntas marcadas abajo.",
        "Nada foi enviado ainda: revise as perguntas marcadas abaixo.",
    ),
    "between": ("Choose {least} to {most}.", "Elija de {least} a {most}.", "Escolha de {least} a {most}."),
    "no_work": ("no work left", "no queda trabajo", "não há mais trabalho"),
    "not_qualified": ("not qualified", "no está habilitado", "não está habilitado"),
    "no_test": ("There is no such test.", "No existe esa prueba.", "Esse teste não existe."),
    "test_taken": ("You have taken this test; it can be taken once.", "Ya hizo esta prueba; se hace una sola vez.", "Você já fez este teste; só pode ser feito uma vez."),
    "test_later": ("You have taken this test; try again later.", "Ya hizo esta prueba; inténtelo más tarde.", "Você já fez este teste; tente mais tarde."),
    "no_assignment": ("There is no such assignment.", "No existe esa tarea.", "Essa tarefa não existe."),
    "already_submitted": ("already submitted", "ya se envió", "já foi enviada"),
    "too_late": ("The time for this HIT is over; it went to somebody else.", "El tiempo de esta tarea terminó; pasó a otra persona.", "O tempo desta tarefa acabou; ela foi para outra pessoa."),
    "bad_form": ("This form is out of date. Go back, reload the page and send it again.", "El formulario caducó. Vuelva atrás, recargue la página y envíelo otra vez.", "O formulário expirou. Volte, recarregue a página e envie de novo."),
    "sign_in": ("Please sign in first.", "Primero debe entrar.", "Entre primeiro."),
    "not_found": ("There is no such page.", "No existe esa página.", "Essa página não existe."),
    "too_large": ("That form is too large.", "El formulario es demasiado grande.", "O formulário é grande demais."),
    "too_slow": ("That took too long to arrive. Please try again.", "Tardó demasiado en llegar. Inténtelo otra vez.", "Demorou demais para chegar. Tente de novo."),
    "too_many_requests": ("Too many requests. Please wait a moment.", "Demasiadas peticiones. Espere un momento.", "Pedidos demais. Espere um momento."),
    "server_error": ("The server failed. Please try again.", "El servidor falló. Inténtelo otra vez.", "O servidor falhou. Tente de novo."),
    "submitted_frame": ("Submitted. Thank you.", "Enviado. Gracias.", "Enviado. Obrigado."),
    "inbox": ("Messages", "Mensajes", "Mensagens"),
    "no_messages": ("Nobody has written to you yet.", "Todavía nadie le ha escrito.", "Ninguém escreveu para você ainda."),
    "new": ("new", "nuevo", "novo"),
    "sent_by": ("From", "De", "De"),
    "bonus": ("Bonus", "Bonificación", "Bônus"),
    "granted": ("You are qualified", "Ya está habilitado", "Você está habilitado"),
    "request_rejected": ("Your request was declined", "Su solicitud fue rechazada", "Seu pedido foi recusado"),
    "ask_for": ("Request", "Solicitar", "Solicitar"),
    "asked_granted": ("You are qualified now.", "Ya está habilitado.", "Agora você está habilitado."),
    "asked_pending": ("Your request was sent; the requester decides.", "Su solicitud fue enviada; decide el solicitante.", "Seu pedido foi enviado; o solicitante decide."),
    "asked_already": ("You have asked for this already.", "Ya lo solicitó.", "Você já fez esse pedido."),
    "ask_later": ("You have asked for this; try again later.", "Ya lo solicitó; inténtelo más tarde.", "Você já pediu; tente mais tarde."),
    "no_qualification": ("There is no such qualification to ask for.", "No existe esa habilitación.", "Essa habilitação não existe."),
    "test_over": ("The time for this test is over. Open it again to start anew.", "El tiempo de esta prueba terminó. Ábrala de nuevo para empezar otra vez.", "O tempo deste teste acabou. Abra-o de novo para recomeçar."),
    "preview": ("Preview", "Vista previa", "Prévia"),
    "preview_note": ("This is a look ahead: nothing is accepted yet and nothing is sent.", "Es solo una vista previa: todavía no ha aceptado nada y no se envía nada.", "É só uma prévia: nada foi aceito ainda e nada é enviado."),
    "language": ("Language", "Idioma", "Idioma"),
    "error_script": ("Please choose an answer for every picture.", "Elija una respuesta para cada foto.", "Escolha uma resposta para cada foto."),
}  # fmt: skip


def words(language: str) -> dict[str, str]:
    """All texts in a language (en, es or pt)."""
    column = list(LANGUAGES).index(language)
    return {key: texts[column] for key, texts in _TEXTS.items()}


def word(key: str, language: str = "en") -> str:
    """One text; an unknown key is its own text."""
    return words(language).get(key, key)


def fault(error: WorkerError, language: str = "en") -> str:
    """Why somebody cannot do something, with the numbers that it depends on."""
    text = word(error.message, language)
    return text.format(**error.values) if error.values else text


def choose_language(asked: str | None, kept: str | None, accepted: str) -> str:
    """The language of a page: asked for in the address, else kept from before, else what the browser accepts first."""
    for candidate in (asked, kept):
        if candidate in LANGUAGES:
            return candidate
    ranked = []
    for number, part in enumerate(accepted.split(",")):
        tag, _, weight = part.partition(";q=")
        try:
            ranked.append((-float(weight or 1), number, tag.strip().split("-")[0].lower()))
        except ValueError:
            continue
    return next((tag for _, _, tag in sorted(ranked) if tag in LANGUAGES), "en")

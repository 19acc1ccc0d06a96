# proto/embed.cmake - a file as an array in C: cmake -Dfile=a.pb -Dname=symbol -P embed.cmake   writes a.c
file(READ ${file} bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "[.][^.]*$" ".c" out ${file})
file(WRITE ${out} "const unsigned ${name}_size = ${size};\nconst unsigned char ${name}[] = {${bytes}};\n")
